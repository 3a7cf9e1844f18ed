// Connect's own client for Node, in one of its protocols and formats: every kind of method of tally.v1.Tally, without
// generated code. Prints one line of JSON.
//   node client.js http://127.0.0.1:PORT DESCRIPTOR_SET connect|grpc-web json|proto
const { readFileSync } = require("node:fs");
const { fromBinary, createFileRegistry, toJson } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema, anyUnpack } = require("@bufbuild/protobuf/wkt");
const { createClient, Code } = require("@connectrpc/connect");
const { createConnectTransport, createGrpcWebTransport } = require("@connectrpc/connect-node");

const [baseUrl, file, protocol, format] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
const service = registry.getService("tally.v1.Tally");
const count = registry.getMessage("tally.v1.Count");
const make = protocol === "connect" ? createConnectTransport : createGrpcWebTransport;
const transport = make({ baseUrl, httpVersion: "1.1", useBinaryFormat: format === "proto", useHttpGet: true });
const client = createClient(service, transport);

const told = (message) => toJson(count, message);

async function* each(...messages) {
  yield* messages;
}

async function all(stream) {
  const answers = [];
  for await (const answer of stream) answers.push(told(answer));
  return answers;
}

async function refused(call) {
  try {
    await call();
  } catch (error) {
    return { code: Code[error.code], message: error.rawMessage, details: error.details.map((detail) => detail.type) };
  }
  return "not refused";
}

async function main() {
  const alameda = { county: "Alameda é", ballots: 7n };
  const nowhere = { county: "nowhere" };
  const header = {}, trailer = {};
  const put = await client.put(alameda, {
    onHeader: (fields) => (header.shard = fields.get("shard")),
    onTrailer: (fields) => (trailer.cost = fields.get("cost")),
  });
  return {
    put: told(put),
    header,
    trailer,
    empty: told(await client.put({})),
    get: told(await client.get(alameda)),
    watch: await all(client.watch(alameda)),
    sum: told(await client.sum(each({ ballots: 4n }, { ballots: 5n }))),
    refused: await refused(() => client.put(nowhere)),
    refusedGet: await refused(() => client.get(nowhere)),
    refusedStream: await refused(() => all(client.watch(nowhere))),
    limited: await refused(() => client.put({ county: "limited" })),
    limitedStream: await refused(() => all(client.watch({ county: "limited" }))),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
