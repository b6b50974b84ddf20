"""Requests that nobody should send, drawn by a seed: for tests and `benchmarks/fuzzing.py`."""

import random
from pathlib import Path

CLIP = (Path(__file__).parents[1] / "examples" / "clips" / "morning.flac").read_bytes()
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X" * 50]
PATHS = [
    "/", "/health", "/metrics", "/docs", "/openapi.json", "/page/page.js", "/v1/models",
    "/v1/models/english", "/v1/audio/transcriptions", "/v1/audio/transcripts", "/v1/jobs",
    "/v1/jobs/x", "/v1/jobs/x/transcript", "/v1/realtime", "/v1/realtime/classifications",
    "/v1/audio/classifications",
]  # fmt: skip
NAMES = ["file", "model", "stream", "prompt", "response_format", "timestamp_granularities[]", "",
         "top_k", "windows"]  # fmt: skip
VALUES = ["english", "tones", "true", "srt", "json", "verbose_json", "word", "", "\x00", "é" * 9,
          "-1", "3", "../../x"]  # fmt: skip
UPLOADS = ["/v1/audio/transcriptions", "/v1/audio/classifications", "/v1/jobs"]

Request = tuple[str, str, dict[bytes, bytes], bytes]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut out, doubled."""
    x = bytearray(content)
    for _ in range(rng.randint(0, 8)):
        at = rng.randrange(len(x) + 1)
        how = rng.randrange(4)
        if how == 0 and at < len(x):
            x[at] = rng.randrange(256)
        elif how == 1:
            del x[at : at + rng.randint(1, 200)]
        elif how == 2:
            x[at:at] = rng.randbytes(rng.randint(1, 50))
        else:
            x[at:at] = x[at : at + 100]
    return bytes(x)


def multipart(rng: random.Random) -> Request:
    """Parts in disorder, with damage in the sound, the headers or the frame."""
    parts = []
    for _ in range(rng.randint(0, 6)):
        name = rng.choice(NAMES)
        if name == "file" or rng.random() < 0.3:
            suffix = rng.choice(["flac", "wav", "mp3", "m4a", "webm", "x", ""])
            head = f'name="file"; filename="a.{suffix}"'
            sound = damaged(CLIP, rng) if rng.random() < 0.7 else rng.randbytes(300)
        else:
            head, sound = f'name="{name}"', rng.choice(VALUES).encode()
        header = f"Content-Disposition: form-data; {head}\r\n\r\n".encode()
        parts.append(b"--x\r\n" + header + sound + b"\r\n")
    body = b"".join(parts) + rng.choice([b"--x--\r\n", b"--x--", b"", b"--y--\r\n"])
    if rng.random() < 0.2:
        body = damaged(body, rng)
    kind = rng.choice([b"multipart/form-data; boundary=x"] * 9 + [b"multipart/mixed"])
    return "POST", rng.choice(UPLOADS), {b"Content-Type": kind}, body


def json_body(rng: random.Random) -> Request:
    word = {"word": "a", "start": 0, "end": 1}
    text = repr({"words": [word] * rng.randint(0, 3)}).replace("'", '"')
    style = rng.choice(["srt", "vtt", "json", "x"])
    headers = {b"Content-Type": b"application/json"}
    path = f"/v1/audio/transcripts?response_format={style}"
    return "POST", path, headers, damaged(text.encode(), rng)


def anything(rng: random.Random) -> Request:
    path = rng.choice(PATHS)
    if rng.random() < 0.5:
        path += "/" + "".join(rng.choice("%2e./\\abc?&=:;") for _ in range(rng.randint(1, 20)))
    headers = {
        rng.choice([b"Origin", b"Accept", b"Content-Type", b"Content-Length-X", b"Range",
                    b"Upgrade", b"Idempotency-Key", b"Authorization", b"X"]):
        bytes(rng.choice(b"abc/;=,\" \xe9\xff0129*") for _ in range(rng.randint(0, 40))).strip()
        for _ in range(rng.randint(0, 4))
    }  # fmt: skip
    return rng.choice(METHODS), path, headers, rng.randbytes(rng.choice([0, 0, 10, 1_000]))


def raw(rng: random.Random) -> bytes:
    """What goes over the wire: a request that was right once, or never."""
    good = (
        f"POST {rng.choice(UPLOADS)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data"
        '; name="file"; filename="a.flac"\r\n\r\nfLaC\r\n--x--\r\n'
    ).encode()
    return damaged(good, rng) if rng.random() < 0.8 else rng.randbytes(500)


def message(rng: random.Random) -> str | bytes:
    """For a websocket."""
    kind = rng.choice(["input_audio_buffer.append", "input_audio_buffer.commit", "x"])
    text = f'{{"type": "{kind}", "audio": "{rng.choice(["", "AAAA", "?", "AAA="])}"}}'
    if rng.random() < 0.5:
        return rng.randbytes(rng.choice([0, 1, 2, 3_201, 20_000]))
    return damaged(text.encode(), rng).decode("utf-8", "replace") if rng.random() < 0.5 else text
