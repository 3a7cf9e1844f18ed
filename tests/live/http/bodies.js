// Bodies that are read and written as they come: sums of uploads, refusals, events, trailers.
const http = require("node:http");
const crypto = require("node:crypto");

const listeners = new Set();
let number = 0;

const server = http.createServer((request, response) => {
  switch (request.url) {
    case "/sum": {
      const sum = crypto.createHash("sha256");
      request.on("data", (part) => sum.update(part));
      request.on("end", () => {
        const length = request.headers["content-length"] ?? null;
        response.end(JSON.stringify({ sum: sum.digest("hex"), length }));
      });
      break;
    }
    case "/refuse":
      response.writeHead(413, { Connection: "close" }).end("too much");
      break;
    case "/events":
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.flushHeaders();
      listeners.add(response);
      request.on("close", () => listeners.delete(response));
      break;
    case "/next":
      for (const each of listeners) each.write(`data: ${number}\n\n`);
      number += 1;
      response.writeHead(204).end();
      break;
    case "/listeners":
      response.end(String(listeners.size));
      break;
    case "/trailers":
      response.writeHead(200, { Trailer: "X-Answered" });
      request.on("data", (part) => response.write(part));
      request.on("end", () => {
        response.addTrailers({ "X-Answered": request.trailers["x-asked"] ?? "no" });
        response.end();
      });
      break;
    default:
      response.writeHead(404).end();
  }
});
// Whether the body of a request that expects it is wanted: not for one that is refused.
server.on("checkContinue", (request, response) => {
  if (request.url !== "/refuse") response.writeContinue();
  server.emit("request", request, response);
});
server.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
