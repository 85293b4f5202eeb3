// The length of the longest increasing subsequence of the numbers on standard input.
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    std::vector<long> tails;  // tails[n]: the smallest end of such a subsequence of n + 1 numbers
    for (long number; std::cin >> number;) {
        auto place = std::lower_bound(tails.begin(), tails.end(), number);
        if (place == tails.end())
            tails.push_back(number);
        else
            *place = number;
    }
    std::cout << tails.size() << '\n';
}
