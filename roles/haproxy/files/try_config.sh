# Finds what `haproxy -c` does not, in a throw-away container on the host's network. usage: sh try_config.sh PROBE CONFIG [MORE]
set -eu
probe=$1
shift

# Can every address be bound? HAProxy would notice in the middle of a reload, and the old workers refuse connections while it tries again.
# Bound and never listened on, an address takes no request from the container that serves on it (which shares it: SO_REUSEPORT, same uid).
perl -MIO::Socket::IP -ne '
    next unless /^\s*bind\s+(\S+)/;
    for (split /,/, $1) {
        my ($host, $port, $last) = /^(?:ipv[46]@|tcp[46]?@)?\[?([^\/@\$]*?)\]?:(\d+)(?:-(\d+))?$/ or next;
        for my $number ($port .. ($last // $port)) {
            IO::Socket::IP->new(LocalHost => $host =~ /^\*?$/ ? "0.0.0.0" : $host, LocalPort => $number, ReuseAddr => 1, ReusePort => 1)
                or die "$ARGV:$.: bind $host:$number: $!\n";
        }
    }' "$1"

# Does it start? What fails after the check (limits, memory, chroot) would end the running workers, too. Each bind becomes a socket in /tmp.
mkdir -p "/run/haproxy/$BERTH_INSTANCE"
perl -pe 's{^(\s*bind\s+)(?!quic)\S+}{$1unix\@/tmp/$..sock}; $_ = "\n" if /^\s*bind\s+quic/' "$1" > /tmp/haproxy.cfg
haproxy -db -f /tmp/haproxy.cfg ${2+-f "$2"} > /tmp/log 2>&1 &
for _ in $(seq 50); do
    perl -e "$probe" 2> /tmp/probe && exit 0
    kill -0 $! 2> /dev/null || break
    sleep 0.1
done
code=0
if kill -0 $! 2> /dev/null; then code="none, it did not answer"; else wait $! || code=$?; fi
echo "It passes \`haproxy -c\`, but does not start (exit code $code; 137 is too little memory):"
cat /tmp/log
exit 1
