import { readFileSync } from "node:fs";
import _ from "lodash";

console.log(JSON.parse(readFileSync(0, "utf8")).map(_.sum).join());
