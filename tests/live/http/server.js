// Node's own HTTP server: chunks by default, early hints, trailers, and connections that it keeps for five seconds.
const http = require("node:http");

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    switch (request.url) {
      case "/echo":
        response.setHeader("X-Method", request.method);
        response.setHeader("X-Fields", request.rawHeaders.join("|"));
        response.end(body);
        break;
      case "/chunks":
        response.writeHead(200, { Trailer: "X-Sum" });
        for (let at = 0; at < body.length; at += 1000) response.write(body.subarray(at, at + 1000));
        response.addTrailers({ "X-Sum": String(body.length) });
        response.end();
        break;
      case "/hints":
        response.writeProcessing();
        response.writeEarlyHints({ link: "</style.css>; rel=preload" });
        response.end("hinted");
        break;
      case "/last":
        response.shouldKeepAlive = false;
        response.end("bye");
        break;
      case "/half":
        response.writeHead(200, { "Content-Length": "10" });
        response.write("half");
        setImmediate(() => request.socket.destroy());
        break;
      case "/dropped":
        request.socket.destroy();
        break;
      default:
        response.writeHead(404).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
