import java.util.Map;
import java.util.Scanner;
import java.util.TreeMap;

/** How often each word of standard input occurs. */
public class Main {
    public static void main(String[] args) {
        Map<String, Integer> counts = new TreeMap<>();
        try (Scanner words = new Scanner(System.in)) {
            while (words.hasNext()) counts.merge(words.next(), 1, Integer::sum);
        }
        counts.forEach((word, count) -> System.out.println(word + " " + count));
    }
}
