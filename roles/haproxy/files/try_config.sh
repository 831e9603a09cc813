# Starts the candidate for a moment in a throw-away container. `haproxy -c` stops before limits are raised, memory is taken and privileges
# are dropped, and a configuration that fails there takes the running workers down with it.
# It must not listen where the live one does (that would take requests from it), so every bind becomes a socket under /tmp.
set -eu
mkdir -p "/run/haproxy/$BERTH_INSTANCE"
perl -pe 's{^(\s*bind\s+)(?!quic)\S+}{$1unix\@/tmp/$..sock}; $_ = "\n" if /^\s*bind\s+quic/' "$1" > /tmp/haproxy.cfg
haproxy -db -f /tmp/haproxy.cfg -f "$2" > /tmp/log 2>&1 &
for _ in $(seq 50); do
    perl -e "$3" 2> /tmp/probe && exit 0
    kill -0 $! 2> /dev/null || break
    sleep 0.1
done
code=0
if kill -0 $! 2> /dev/null; then code="none, it did not answer"; else wait $! || code=$?; fi
echo "It passes \`haproxy -c\`, but does not start (exit code $code; 137 is too little memory):"
cat /tmp/log
exit 1
