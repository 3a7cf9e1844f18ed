// Node's HTTP server as an application that redirects: to what the query says, with $HOST for the Host that it was asked
// by and $PORT for its own port. Without ?to it says which path it was asked for.
const http = require("node:http");

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://inside");
  const to = url.searchParams.get("to");
  if (to === null) {
    response.writeHead(200, { "Content-Type": "application/xml" });
    response.end(`<at>${url.pathname.replaceAll("&", "&amp;")}${url.search.replaceAll("&", "&amp;")}</at>`);
    return;
  }
  const place = to.replace("$HOST", request.headers.host).replace("$PORT", server.address().port);
  response.writeHead(Number(url.searchParams.get("status") ?? 302), { Location: place });
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
