// Shows openapi.json with Swagger UI. Only `tenant` is passed on from this page's own query.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const tenant = new URLSearchParams(window.location.search).get("tenant");

// Behind a proxy that removes a prefix and says nothing of it, the gateway can't name its servers; this page's own address can.
// The admin listener serves no routes, so there is nothing to name or to try.
const onAdminListener = document.body.dataset.listener === "admin";
const root = onAdminListener ? "" : new URL("..", window.location.href).pathname.replace(/\/$/, "");
const belowPrefix = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (spec) =>
          update(root && spec?.openapi && !spec.servers ? { ...spec, servers: [{ url: root }] } : spec),
      },
    },
  },
});

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
  plugins: [belowPrefix],
  validatorUrl: null, // nothing leaves for a validator elsewhere
  withCredentials: false,
  ...(onAdminListener ? { supportedSubmitMethods: [] } : {}),
});
