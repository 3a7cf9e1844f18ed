// Shows openapi.json with Swagger UI. Only `tenant` is passed on from this page's own query.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const tenant = new URLSearchParams(window.location.search).get("tenant");

window.SwaggerUIBundle({
  url: "openapi.json" + (tenant ? "?" + new URLSearchParams({ tenant }) : ""),
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
  showExtensions: false,
  persistAuthorization: false, // a token stays in this page's memory
  validatorUrl: null, // nothing leaves for a validator elsewhere
  withCredentials: false,
  // The admin listener serves no routes, so there is nothing to try.
  ...(document.body.dataset.listener === "admin" ? { supportedSubmitMethods: [] } : {}),
});
