/* Greets `name` on standard output, with the word in the environment variable GREETING. */
void greet(const char *name);
