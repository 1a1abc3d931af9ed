// Calls the ERP through the gateway, in Node 18 or later. CLIENT_ID, PASSWORD and API_KEY are in the environment.
// It belongs on a server: what runs in a browser shows its secrets to everybody.
const GATEWAY = "{{gateway}}";
const { CLIENT_ID, PASSWORD, API_KEY } = process.env;
let kept = { text: "", until: 0 };

// A token serves many requests: it is kept until shortly before it ends.
async function token() {
  if (Date.now() >= kept.until) {
    const answer = await fetch(GATEWAY + "{{token_path}}", {
      method: "POST",
      headers: {
        Authorization: "Basic " + Buffer.from(`${CLIENT_ID}:${PASSWORD}`).toString("base64"),
        "x-api-key": API_KEY,
      },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
      signal: AbortSignal.timeout(30_000),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`no token: ${body.code}, request ${body.request_id}`);
    kept = { text: body.access_token, until: Date.now() + (body.expires_in - 30) * 1000 };
  }
  return kept.text;
}

// One request. Only reading is tried again by itself: what writes may have been carried out.
async function call(method, path, body) {
  let answer;
  for (let attempt = 0; attempt < 4; attempt++) {
    const headers = { Authorization: `Bearer ${await token()}`, Accept: "application/json" };
    headers["x-api-key"] = API_KEY; //@key
    if (body !== undefined) headers["Content-Type"] = "application/json";
    answer = await fetch(GATEWAY + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    if (answer.ok) return answer.json();
    if (answer.status === 401) {
      kept.until = 0; // it was revoked, or has ended: the next attempt gets another one
    } else if (![429, 502, 503, 504].includes(answer.status) || !["GET", "HEAD"].includes(method)) {
      break;
    } else {
      const wait = Number(answer.headers.get("retry-after") ?? 2 ** attempt);
      await new Promise((done) => setTimeout(done, Math.min(wait, 60) * 1000));
    }
  }
  const why = answer.headers.get("x-erp-access-cause") ?? "the ERP";
  const id = answer.headers.get("x-request-id");
  throw new Error(`${answer.status} by ${why}, request ${id}: ${(await answer.text()).slice(0, 300)}`);
}

console.log(JSON.stringify(await call("GET", "{{path}}")));
