// Express with node-soap, as their READMEs set them up: one client, made at start, on kept connections.
//
//   PORT, SERVICE (the HTTP service's address), WSDL; KEY, ISSUER, AUDIENCE and LOG where guards are on
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const express = require("express");
const soap = require("soap");
const { XMLParser } = require("fast-xml-parser");

const { PORT, SERVICE, WSDL, KEY, ISSUER, AUDIENCE, LOG } = process.env;

async function main() {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag"); // a hash over each answer that no client here asks for
  if (KEY) guard(app);
  app.use(express.json({ limit: "8mb" }));

  const client = await soap.createClientAsync(WSDL, { forceSoap12Headers: false });
  client.setEndpoint(`http://${SERVICE}/Orders.asmx`);
  const kept = { forever: true }; // the library itself asks for kept connections only so
  app.post("/soap/PlaceOrder", async (request, response) => {
    const [result] = await client.PlaceOrderAsync(request.body, kept);
    response.json(result);
  });

  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    parseTagValue: false,
    ignoreDeclaration: true,
  });
  const agent = new http.Agent({ keepAlive: true });
  const [host, port] = SERVICE.split(":");
  app.get("/xml/:race", (request, response, next) => {
    const path = `/feed/${encodeURIComponent(request.params.race)}`;
    http
      .get({ host, port, path, agent }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", next);
        answer.on("end", () => response.json(parser.parse(Buffer.concat(parts).toString("utf8"))));
      })
      .on("error", next);
  });

  app.listen(Number(PORT), "127.0.0.1");
}

function guard(app) {
  const jwt = require("jsonwebtoken");
  const morgan = require("morgan");
  const { rateLimit } = require("express-rate-limit");
  const key = crypto.createPublicKey(fs.readFileSync(KEY));
  const out = fs.createWriteStream(LOG, { flags: "a" });
  const line = (tokens, request, response) =>
    JSON.stringify({
      time: tokens.date(request, response, "iso"),
      method: tokens.method(request, response),
      path: tokens.url(request, response),
      status: Number(tokens.status(request, response)),
      peer: tokens["remote-addr"](request, response),
      ms_total: Number(tokens["total-time"](request, response)),
    });
  app.use(morgan(line, { stream: out }));
  app.use(rateLimit({ windowMs: 1000, limit: 1_000_000, standardHeaders: false, legacyHeaders: false }));
  app.use((request, response, next) => {
    const [kind, token] = (request.get("authorization") || "").split(" ");
    if (kind !== "Bearer") return response.status(401).end();
    const wanted = { algorithms: ["ES256"], issuer: ISSUER, audience: AUDIENCE };
    jwt.verify(token, key, wanted, (error) => (error ? response.status(401).end(error.message) : next()));
  });
}

main();
