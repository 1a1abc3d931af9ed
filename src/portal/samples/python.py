#!/usr/bin/env python3
"""Calls the ERP through the gateway. CLIENT_ID, PASSWORD and API_KEY are in the environment."""

import base64
import json
import os
import time
import urllib.error
import urllib.request

GATEWAY = "{{gateway}}"
_token = {"text": "", "until": 0.0}


def send(method, path, headers, body=None):
    request = urllib.request.Request(GATEWAY + path, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def token():
    """A token serves many requests: it is kept until shortly before it ends."""
    if time.monotonic() >= _token["until"]:
        pair = f"{os.environ['CLIENT_ID']}:{os.environ['PASSWORD']}".encode()
        headers = {
            "Authorization": "Basic " + base64.b64encode(pair).decode(),
            "x-api-key": os.environ["API_KEY"],
            "Content-Type": "application/x-www-form-urlencoded",
        }
        status, _, body = send("POST", "{{token_path}}", headers, b"grant_type=client_credentials")
        answer = json.loads(body)
        if status != 200:
            raise RuntimeError(f"no token: {answer['code']}, request {answer['request_id']}")
        _token.update(text=answer["access_token"], until=time.monotonic() + answer["expires_in"] - 30)
    return _token["text"]


def call(method, path, body=None):
    """One request. Only reading is tried again by itself: what writes may have been carried out."""
    for attempt in range(4):
        headers = {"Authorization": "Bearer " + token(), "Accept": "application/json"}
        headers["x-api-key"] = os.environ["API_KEY"]  #@key
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        status, answered, content = send(method, path, headers, data)
        if status < 400:
            return json.loads(content or b"null")
        if status == 401:
            _token["until"] = 0.0  # it was revoked, or has ended: the next attempt gets another one
        elif status not in (429, 502, 503, 504) or method not in ("GET", "HEAD"):
            break
        else:
            time.sleep(min(float(answered.get("Retry-After") or 2**attempt), 60))
    why = answered.get("X-ERP-Access-Cause") or "the ERP"
    raise RuntimeError(f"{status} by {why}, request {answered.get('X-Request-Id')}: {content[:300]!r}")


if __name__ == "__main__":
    print(json.dumps(call("GET", "{{path}}")))
