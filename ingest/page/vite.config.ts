import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the Content-Security-Policy allows no data: addresses
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000, // kB
  },
  server: {
    // `npx vite` beside `make up`: the page as it is written
    fs: { allow: ["../.."] }, // the examples
    proxy: Object.fromEntries(
      ["/submissions", "/packages", "/system", "/openapi.json"].map((path) => [
        path,
        "http://127.0.0.1:8000",
      ]),
    ),
  },
});
