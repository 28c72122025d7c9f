// Starts the parts of the page. The socket is the stock client's; Tidegate's client script is only for the queue and the badge.

import { startChat } from "./chat.js";
import { connection } from "./connection.js";
import { startPanels } from "./panels.js";
import { monitor } from "./quality.js";
import { stage } from "./stage.js";
import { startSteps } from "./steps.js";

startPanels();
startChat();
startSteps();
monitor.start();
connection.connect();
stage.keepLooking();
