#!/usr/bin/env bash
# Runs kazoo's own, unchanged test-suite against a Corral installed from its wheel, as `make test-kazoo` does.
#
#   kazoo_suite.sh WHEEL [PYTEST-ARGS...]      such as  dist/corral-0.1.0-py3-none-any.whl -k lock
#
# The wheel, kazoo and what its tests need go into a virtual environment of their own: what is tested is what is
# shipped, and the source tree is out of sight. One of those needs a C compiler and Python's headers.
#
# kazoo's wheel carries its tests. Their harness writes a zoo.cfg and starts `java ... QuorumPeerMain zoo.cfg`, found on
# PATH. A `java` of our own, put first on PATH, takes that one call and becomes the server (exec), so that the harness's
# SIGTERM goes to the server itself. To zoo.cfg it adds loopback addresses and what the harness gives as -Dzookeeper.KEY.
#
# Left out: test_sasl, and in test_client the one class that needs TLS; the server has neither yet. With fewer than three
# servers also the seven tests that fail then on any server, Apache's too, because they start or address three.
#
# Environment, all of it optional:
#   CORRAL      another server's command; it is called as  $CORRAL zoo.cfg  (default: `corral serve` of the wheel)
#   KZ_SIZE     servers in the ensemble (default 1; the suite's own default is 3)
#   KZ_VERSION  the version that the suite takes the server for (default 3.9.3); it skips by it
#   KZ_PORT     the first of 30 free ports (default: the first such block from 30000 on)
#   KZ_MODULES  which test modules, such as "test_lock test_client" (default: all but test_sasl)
#   KZ_MODULE_S, KZ_TEST_S   seconds one module (default 900) and one test (default 180) may take
#   KZ_OUT      where logs and results go (default: build/kazoo); KZ_VENV: the virtual environment of the tests there
# Prints a table and a line of JSON. Exit code: 0 when nothing failed, 1 when something did, 2 when it could not be run.
set -u
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
OUT=${KZ_OUT:-$ROOT/build/kazoo}; VENV=${KZ_VENV:-$OUT/venv}; PYTHON=${PYTHON:-python3}
WHEEL=${1:-}; [ -f "$WHEEL" ] || { echo "kazoo_suite: there is no wheel '$WHEEL': make one with make wheel" >&2; exit 2; }
WHEEL=$(realpath "$WHEEL"); shift
SERVER=${CORRAL:-$VENV/bin/corral serve}
mkdir -p "$OUT/shim" "$OUT/tmp" && cd "$OUT" || exit 2
unset PYTHONPATH

if [ ! -e "$VENV/.made" ]; then
  # pyOpenSSL 26.2 lost X509Extension, which the harness needs; pytest 8.4.2 is what kazoo's constraints name.
  "$PYTHON" -m venv "$VENV" && "$VENV/bin/pip" install --quiet --disable-pip-version-check \
    'kazoo[test]==2.11.0' 'pyOpenSSL<26.2.0' 'pytest==8.4.2' && touch "$VENV/.made" || exit 2
fi
# Twice: a wheel of the same version must replace the one before it, and its dependencies need not come again.
"$VENV/bin/pip" install --quiet --disable-pip-version-check "$WHEEL" &&
  "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$WHEEL" || exit 2
command -v "${SERVER%% *}" >/dev/null || { echo "kazoo_suite: there is no command ${SERVER%% *}" >&2; exit 2; }
echo "server: $SERVER"
"$VENV/bin/python" -c 'import corral; print("corral:", corral.__file__)' || exit 2
TESTS=$("$VENV/bin/python" -c 'import kazoo.tests, os; print(os.path.dirname(kazoo.tests.__file__))') || exit 2
: > "$OUT/pids"; : > "$OUT/results.tsv"; rm -f "$OUT"/*.xml
PORT=${KZ_PORT:-$("$VENV/bin/python" - <<'FREE'
import socket


def is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


print(next(first for first in range(30000, 32700, 30) if all(map(is_free, range(first, first + 30)))))
FREE
)} || exit 2

cat > "$OUT/shim/java" <<'SHIM'
#!/usr/bin/env bash
# Stands in for `java` in kazoo's harness; see kazoo_suite.sh.
cfg=${!#}
{ printf '\nclientPortAddress=127.0.0.1\nsecureClientPortAddress=127.0.0.1\nadmin.serverAddress=127.0.0.1\n'
  for a in "$@"; do case $a in
    -Dzookeeper.log.dir=*|-Dzookeeper.root.logger=*) ;;
    -Dzookeeper.*) echo "${a#-Dzookeeper.}";;
    -Dreadonlymode.enabled=*) echo "${a#-D}";;
  esac; done; } >> "$cfg"
echo $$ >> "$KZ_OUT/pids"
# The harness shows the end of zookeeper.log when a test fails.
PATH=$KZ_PATH; exec $KZ_SERVER "$cfg" >> "$(dirname "$cfg")/zookeeper.log" 2>&1
SHIM
chmod +x "$OUT/shim/java"

cat > "$OUT/tally.py" <<'TALLY'
import sys
import xml.etree.ElementTree as E

module, path, code, wall = sys.argv[1:5]
try:
    cases = E.parse(path).getroot().find("testsuite").findall("testcase")
except Exception:
    print(module, 0, 0, 1, 0, wall, f"crashed or ran out of time (exit code {code})", sep="\t")
    sys.exit()


def having(*tags):
    return sorted({(c.get("classname") or "").rpartition(".")[2] + "." + c.get("name")
                   for c in cases if any(c.find(tag) is not None for tag in tags)})


bad, skipped = having("failure", "error"), having("skipped")
words = ["FAIL:" + name for name in bad] + ["skip:" + name for name in skipped]
if code not in ("0", "1", "5") and not bad:
    bad, words = ["?"], [*words, f"ended with exit code {code}"]
print(module, len(cases), len(cases) - len(bad) - len(skipped), len(bad), len(skipped), wall, " ".join(words), sep="\t")
TALLY

export KZ_OUT=$OUT KZ_SERVER=$SERVER KZ_PATH=$PATH
export PATH=$OUT/shim:$VENV/bin:$PATH TMPDIR=$OUT/tmp CI=true PYTHONDONTWRITEBYTECODE=1
export ZOOKEEPER_VERSION=${KZ_VERSION:-3.9.3} ZOOKEEPER_PATH=$OUT/shim ZOOKEEPER_CLASSPATH=unused
export ZOOKEEPER_PORT_OFFSET=$PORT ZOOKEEPER_CLUSTER_SIZE=${KZ_SIZE:-1}

reap() {  # Ends only servers that were started here: their command line names a zoo.cfg below $OUT/tmp.
  local pid
  for pid in $(cat "$OUT/pids"); do
    [ -r "/proc/$pid/cmdline" ] || continue
    tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q "$OUT/tmp/" && kill -9 "$pid" 2>/dev/null
  done
  : > "$OUT/pids"
}
trap reap EXIT; trap 'exit 130' INT TERM

left_out=(test_client.py::TestSSLClient)
echo "left out: test_sasl, test_client's TestSSLClient"
if [ "$ZOOKEEPER_CLUSTER_SIZE" -lt 3 ]; then
  left_out+=(
    test_client.py::TestClient::test_update_host_list test_eventlet_handler.py::TestEventletClient::test_update_host_list
    test_gevent_handler.py::TestGeventClient::test_update_host_list test_connection.py::TestReadOnlyMode::test_read_only
    test_client.py::TestReconfig::test_add_remove_observer test_client.py::TestReconfig::test_bad_input
    test_client.py::TestReconfig::test_no_super_auth
  )
  echo "left out: 7 tests that need three servers (KZ_SIZE=3 runs them)"
fi
printf '%-28s %5s %5s %5s %5s %7s\n' module tests pass fail skip wall_s
for module in ${KZ_MODULES:-$(cd "$TESTS" && ls test_*.py | sed 's/\.py$//' | grep -vx test_sasl)}; do
  SECONDS=0
  ( timeout -k 10 "${KZ_MODULE_S:-900}" "$VENV/bin/pytest" -c /dev/null "$TESTS/$module.py" --rootdir="$TESTS" \
      -p no:cacheprovider -q -o timeout="${KZ_TEST_S:-180}" "${left_out[@]/#/--deselect=}" \
      --junitxml="$OUT/$module.xml" "$@" > "$OUT/$module.log" 2>&1 ); code=$?
  wall=$SECONDS; reap; rm -rf "$OUT"/tmp/*
  "$VENV/bin/python" "$OUT/tally.py" "$module" "$OUT/$module.xml" $code "$wall" | tee -a "$OUT/results.tsv" |
    awk -F'\t' '{printf "%-28s %5d %5d %5d %5d %7d  %s\n", $1, $2, $3, $4, $5, $6, $7}'
done
awk -F'\t' '{t += $2; p += $3; f += $4; s += $5; w += $6}
  END {printf "{\"tests\": %d, \"passed\": %d, \"failed\": %d, \"skipped\": %d, \"wall_s\": %d}\n", t, p, f, s, w; exit f > 0 || t == 0}' \
  "$OUT/results.tsv"
