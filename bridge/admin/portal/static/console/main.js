import { watchHealth } from "./health.js";
import { startPublish } from "./publish.js";
import { startRoutes } from "./routes.js";
import { startTry } from "./try.js";

startRoutes();
startPublish();
startTry();
watchHealth();
