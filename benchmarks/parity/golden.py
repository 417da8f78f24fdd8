"""Keep what real clients send and what `mlflow server` answers, in a form that can be asked of any server again.

    python golden.py REFERENCE.json GOLDEN.json SCRIPT ...

An id in an answer becomes a name such as `{id 3}`, and so does that id in later requests. `replay` sends the requests
anew, learns the other server's ids from its answers, and returns where they differ. Kept are only exchanges on which
both servers agree today, so that the file is a promise; errors are kept by status and code, not by their words.
"""

import json
import re
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from parity.compare import KINDS, MOMENTS
from servers import Server

IDS = {kind: pattern for kind, pattern in KINDS if kind in ("model", "uuid", "id")}
EXPERIMENTS = ("experiment_id", "experiment_ids", "source_experiment_id")
NAMED = re.compile(r"\{(id|model|uuid|experiment|token) \d+\}")
#: What an id of each kind looks like on any server.
SHAPES = {
    "id": r"[0-9a-f]{32}",
    "model": r"m-[0-9a-f]{32}",
    "uuid": r"[0-9a-f-]{36}",
    "experiment": r"\d+",
    "token": r".+",
}
ARTIFACTS = "/api/2.0/mlflow-artifacts/"
TURNS = 4
MOST_CHARACTERS = 6000
#: Paths of the machine of the recording.
PLACES = re.compile(r"/[\w/.-]*/run_scripts\.py")


class Recording:
    """Turns exchanges into lines, giving each id a name."""

    def __init__(self):
        self.names = {}

    def name(self, kind, text):
        """Return the name of an id; ids that name nothing (all zeros) and the default experiment stay."""
        if not text.strip("0m-") or (kind == "experiment" and text == "0"):
            return text
        counts = sum(1 for each, _ in self.names if each == kind)
        return self.names.setdefault((kind, text), f"{{{kind} {counts + 1}}}")

    def blank(self, value, key="", is_answer=False):
        """Return `value` with names in place of ids; in an answer, `<moment>` stands for a moment of the recording."""
        if isinstance(value, dict):
            return {name: self.blank(each, name, is_answer) for name, each in value.items()}
        if isinstance(value, list):
            return [self.blank(each, key, is_answer) for each in value]
        if is_answer and isinstance(value, int) and key in MOMENTS and value > 1_700_000_000_000:
            return "<moment>"
        if not isinstance(value, str):
            return value
        if key in EXPERIMENTS and value.isdigit():
            return self.name("experiment", value)
        if key in ("page_token", "next_page_token") and value:
            return self.name("token", value)
        value = re.sub(r"(mlflow-artifacts:/+|^(?=\d+/))(\d+)(?=/(?:models/m-|[0-9a-f]{32})|$)", self._place, value)
        for kind, pattern in IDS.items():
            value = pattern.sub(lambda found, kind=kind: self.name(kind, found.group()), value)
        return value

    def _place(self, found):
        return found[1] + self.name("experiment", found[2])

    def line(self, exchange):
        """Return one exchange as a line, or None if it is no JSON."""
        address = urllib.parse.urlsplit(exchange["url"])
        if exchange["method"] == "PUT" or "answer" not in exchange or address.path.startswith(ARTIFACTS + "artifacts/"):
            return None
        answer = json.loads(exchange["answer"])
        answer = _short(address.path, answer)
        kept = {"error_code": answer["error_code"]} if "error_code" in answer else self.blank(answer, is_answer=True)
        line = {
            "method": exchange["method"],
            "path": self.blank(address.path),
            "status": exchange["status"],
            "answer": kept,
        }
        if address.query:
            line["query"] = [
                [k, self.blank(v, k)] for k, v in urllib.parse.parse_qsl(address.query, keep_blank_values=True)
            ]
        if exchange.get("body"):
            line["body"] = self.blank(json.loads(exchange["body"]))
        return line


class Replay:
    """Sends lines to a server and compares its answers, learning its ids."""

    def __init__(self, url):
        self.url, self.known = url, {}

    def ask(self, line):
        """Send one line; return the places where the answer differs."""
        path = self.fill(line["path"])
        if "query" in line:
            path += "?" + urllib.parse.urlencode([(k, self.fill(v)) for k, v in line["query"]])
        body = json.dumps(self.fill(line["body"])).encode() if "body" in line else None
        request = urllib.request.Request(
            self.url + path, body, {"Content-Type": "application/json"}, method=line["method"]
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as got:
                status, answer = got.status, _short(path, json.loads(got.read() or b"{}"))
        except urllib.error.HTTPError as error:
            status, answer = error.code, json.loads(error.read())
            answer = {"error_code": answer.get("error_code")}
        wrong = [] if status == line["status"] else [f"status {status}, not {line['status']}"]
        return wrong + self.differences(line["answer"], answer, "")

    def fill(self, value):
        """Return `value` with this server's ids in place of names."""
        if isinstance(value, dict):
            return {key: self.fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if isinstance(value, str):
            return NAMED.sub(lambda found: self.known.get(found.group(), found.group()), value)
        return value

    def differences(self, expected, got, path):
        """Return where an answer differs; names that are new are learnt."""
        if isinstance(expected, dict) and isinstance(got, dict):
            expected, got = _without_nothing(expected), _without_nothing(got)
            keys = sorted(set(expected) | set(got))
            return [each for key in keys for each in self.differences(expected.get(key), got.get(key), f"{path}.{key}")]
        if isinstance(expected, list) and isinstance(got, list):
            expected, got = _by_key(expected), _by_key(got)
            if len(expected) != len(got):
                return [f"{path}: {len(got)} in the list, not {len(expected)}"]
            pairs = enumerate(zip(expected, got, strict=True))
            return [each for at, (a, b) in pairs for each in self.differences(a, b, f"{path}[{at}]")]
        if expected == "<moment>" and isinstance(got, int):
            return []
        if isinstance(expected, str) and isinstance(got, str):
            return [] if self._fits(expected, got) else [f"{path}: {got!r}, not {self.fill(expected)!r}"]
        return [] if expected == got else [f"{path}: {got!r}, not {expected!r}"]

    def _fits(self, expected, got):
        new, pattern, at = [], "", 0
        for found in NAMED.finditer(expected):
            pattern += re.escape(expected[at : found.start()])
            at = found.end()
            if found.group() in self.known and found[1] != "token":  # one token of a page may stand for many searches
                pattern += re.escape(self.known[found.group()])
            elif found.group() in new:
                pattern += rf"(?:\{new.index(found.group()) + 1})"
            else:
                new.append(found.group())
                pattern += f"({SHAPES[found[1]]})"
        pattern += re.escape(expected[at:])
        pattern = re.sub(r"[a-z]+\\-[a-z]+\\-\d{1,4}$", r"[a-z]+-[a-z]+-\\d+", pattern)  # a name the server made up
        fits = re.fullmatch(pattern, got, re.DOTALL)
        if fits:
            self.known.update(zip(new, fits.groups(), strict=True))
        return fits is not None


def _short(path, answer):
    """Return of found runs only their names: what a run holds is compared where it is read by itself."""
    if "/runs/search" not in path or "error_code" in answer:
        return answer
    return answer | {"runs": [each["info"]["run_name"] for each in answer.get("runs", [])]}


def _without_nothing(value):
    return {key: each for key, each in value.items() if each not in (None, [], {})}


def _by_key(value):
    keyed = all(isinstance(each, dict) and isinstance(each.get("key"), str) for each in value)
    return sorted(value, key=lambda each: each["key"]) if keyed else value


def main():
    reference, golden, *scripts = sys.argv[1:]
    seen, recording, lines = json.loads(Path(reference).read_text()), Recording(), []
    for script in scripts:
        for exchange in seen["scripts"][script]["wire"]:
            line = recording.line(json.loads(PLACES.sub("train.py", json.dumps(exchange))))
            if line and len(str(line)) < MOST_CHARACTERS:
                lines.append({"script": script} | line)
    total = len(lines)
    for turn in range(TURNS):  # answers that depend on ids or on two moments being one differ from turn to turn
        lines = _agreed(lines, is_first=turn == 0)
    Path(golden).write_text("[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in lines) + "\n]\n")
    print(f"{len(lines)} of {total} exchanges kept")


def _agreed(lines, is_first):
    """Return the lines that a fresh server answers as recorded."""
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server("mainspring", None, Path(folder) / "server").start()
        replay = Replay(server.url)
        try:
            for line in lines:
                wrong = replay.ask(line)
                if wrong and is_first:
                    words = str(line.get("body", line.get("query")))[:150]
                    print(line["script"], line["method"], line["path"], words, wrong[:2])
                kept += [] if wrong else [line]
        finally:
            server.stop()
    return kept


if __name__ == "__main__":
    main()
