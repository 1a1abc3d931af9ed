// A server shaped like SAP Gateway: OData V4 behind Basic sign-in, a session cookie, and a CSRF token for writes.
// node server.js FOLDER: FOLDER holds node_modules; listens on a free port of 127.0.0.1 and prints it.
"use strict";

const crypto = require("node:crypto");
const path = require("node:path");
const { createRequire } = require("node:module");

const installed = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));
const express = installed("express");
const { default: MockServer } = installed("@sap-ux/fe-mockserver-core");

const USER = "gateway";
const PASSWORD = process.env.ERP_ACCESS_TEST_SAP_PASSWORD;
const PORT = Number(process.env.ERP_ACCESS_TEST_SAP_PORT || 0);
const COOKIE = "SAP_SESSIONID_ERP_100";
const SERVICE = "/sap/opu/odata4/sap/shop";

// Session id -> CSRF token. A restart forgets them, as do POST /expire and the real thing after half an hour.
const sessions = new Map();
let signIns = 0;

function cookieOf(request) {
    const pairs = (request.headers.cookie || "").split(";").map((pair) => pair.trim().split("="));
    const found = pairs.find(([name]) => name === COOKIE);
    return found && found[1];
}

function signsIn(request) {
    const expected = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}`;
    return request.headers.authorization === expected;
}

function guard(request, response, next) {
    let session = cookieOf(request);
    if (!sessions.has(session)) {
        if (!signsIn(request)) {
            response.status(401).set("WWW-Authenticate", 'Basic realm="SAP NetWeaver"').send("no");
            return;
        }
        signIns += 1;
        session = crypto.randomBytes(24).toString("base64url");
        sessions.set(session, crypto.randomBytes(18).toString("base64url"));
        response.cookie("sap-usercontext", "sap-client=100", { path: "/", encode: String });
        response.cookie(COOKIE, session, { path: "/", httpOnly: true });
    }
    const asked = request.headers["x-csrf-token"] || "";
    const writes = !["GET", "HEAD", "OPTIONS"].includes(request.method);
    if (writes && asked !== sessions.get(session)) {
        response.status(403).set("x-csrf-token", "Required").json({ error: { code: "403", message: "CSRF token validation failed" } });
        return;
    }
    if (asked.toLowerCase() === "fetch") {
        // The OData server below answers a constant token of its own; ours goes last.
        const token = sessions.get(session);
        const writeHead = response.writeHead;
        response.writeHead = function (...rest) {
            this.setHeader("x-csrf-token", token);
            return writeHead.apply(this, rest);
        };
    }
    next();
}

async function main() {
    const mock = new MockServer({
        services: [{ urlPath: SERVICE, metadataPath: path.join(__dirname, "metadata.xml"), mockdataPath: path.join(__dirname, "mock"), watch: false, generateMockData: false }],
    });
    await mock.isReady;
    const app = express();
    app.disable("x-powered-by");
    // For the tests, on the same loopback port; no ERP has these.
    app.post("/expire", (_, response) => { sessions.clear(); response.end(); });
    app.get("/secrets", (_, response) => response.json({ sessions: [...sessions.keys()], tokens: [...sessions.values()], signIns }));
    app.use(guard);
    // Also what is asked for to get the token.
    app.get("/sap/opu/odata4/sap/", (_, response) => response.json({}));
    app.use(mock.getRouter());
    const server = app.listen(PORT, "127.0.0.1", () => console.log(server.address().port));
}

main();
