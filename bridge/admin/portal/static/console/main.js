import { startEditor } from "./editor.js";
import { watchHealth } from "./health.js";
import { startKeys } from "./keys.js";
import { load, startRoutes } from "./routes.js";
import { startTry } from "./try.js";

startRoutes();
startEditor(load);
startTry();
startKeys();
watchHealth();
