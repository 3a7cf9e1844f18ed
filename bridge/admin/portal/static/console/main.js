import { startEditor } from "./editor.js";
import { watchHealth } from "./health.js";
import { load, startRoutes } from "./routes.js";
import { startTry } from "./try.js";

startRoutes();
startEditor(load);
startTry();
watchHealth();
