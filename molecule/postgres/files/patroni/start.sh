etcd --data-dir /tmp/etcd > /tmp/etcd.log 2>&1 &
exec patroni /patroni.yml
