"""A long video as a job: python docs/examples/jobs_client.py http://127.0.0.1:3000 VIDEO."""

import os
import sys
import time
from pathlib import Path

import httpx

address, video = sys.argv[1:]
token = os.environ.get("DEEPFAKE_SERVE_TOKEN")
headers = {"Authorization": f"Bearer {token}"} if token else {}
with httpx.Client(base_url=address, headers=headers, timeout=220) as client, Path(video).open("rb") as file:
    answer = client.post("/jobs", files={"video": file})
    if answer.status_code != 202:
        sys.exit(answer.json()["error"]["message"])
    job = answer.json()
    while job["status"] in ("queued", "running"):
        print(f"{job['status']} {job['progress']:.0%}", flush=True)
        time.sleep(1)
        job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
    client.delete(f"/jobs/{job['id']}")  # else it is kept for a day

if job["status"] == "failed":
    sys.exit(job["error"]["message"])
print("video:", job["result"]["verdict"], job["result"]["p_fake"])
