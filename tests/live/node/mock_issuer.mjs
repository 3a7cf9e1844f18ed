// oauth2-mock-server as a process: one command a line on stdin, one answer a line on stdout.
//   new KID       a new key beside those that there are
//   sign KID      a token by that key
//   again         all keys thrown away and one new under the kid "again": another server at the same port
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const place = require.resolve("oauth2-mock-server", { paths: [process.env.NODE_PATH] });
const { OAuth2Server } = await import(pathToFileURL(place));

const begin = async (kid, port) => {
  const server = new OAuth2Server();
  await server.issuer.keys.generate("RS256", { kid });
  await server.start(port, "127.0.0.1");
  return server;
};

let server = await begin("one", 0);
const url = server.issuer.url;
const port = server.address().port;
console.log(url);

for await (const line of createInterface({ input: process.stdin })) {
  const [command, kid] = line.split(" ");
  if (command === "new") {
    await server.issuer.keys.generate("RS256", { kid });
  } else if (command === "again") {
    await server.stop();
    server = await begin("again", port);
    server.issuer.url = url;
  }
  console.log(command === "sign" ? await server.issuer.buildToken({ kid }) : "done");
}
await server.stop();
