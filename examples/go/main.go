// Primes below a number, counted by a pipeline of goroutines.
package main

import "fmt"

func generate(below int, out chan<- int) {
	for i := 2; i < below; i++ {
		out <- i
	}
	close(out)
}

func filter(prime int, in <-chan int, out chan<- int) {
	for i := range in {
		if i%prime != 0 {
			out <- i
		}
	}
	close(out)
}

func main() {
	var below, count int
	fmt.Scan(&below)
	numbers := make(chan int)
	go generate(below, numbers)
	for prime, ok := <-numbers; ok; prime, ok = <-numbers {
		count++
		next := make(chan int)
		go filter(prime, numbers, next)
		numbers = next
	}
	fmt.Println(count, "primes below", below)
}
