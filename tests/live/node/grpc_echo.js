// A gRPC service by hand on Node's http2: every call gets its messages back as they come. Arguments: settings as JSON.
'use strict';
const http2 = require('node:http2');

const server = http2.createServer({ settings: JSON.parse(process.argv[2] || '{}') });
server.on('stream', (stream, headers) => {
  if (headers[':path'] === '/a.S/Refuse') {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '9', 'grpc-message': 'n%C3%A9' },
      { endStream: true });
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.on('error', () => {});
  stream.pipe(stream);
});
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
