// The sum of a field over JSON lines on standard input; the field is the first argument.
const readline = require("node:readline");

async function main() {
  let sum = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    sum += JSON.parse(line)[process.argv[2]];
  }
  console.log(`${process.env.LABEL}: ${sum}`);
}

main();
