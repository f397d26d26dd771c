#!/bin/sh
# Make what the compose file needs and nobody else may have: .env with passwords, tls/ with an authority of the
# cluster's own and a certificate for each server. What is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077
PUBLIC_HOST=${PUBLIC_HOST:-localhost}
OWNER=${OWNER:-10001:10001}

word() { openssl rand -hex 16; }

if [ ! -e .env ]; then
    printf 'QUEUE_CLUSTER_SECRET=%s\nPOSTGRES_PASSWORD=%s\nADMIN_PASSWORD=%s\nPUBLIC_HOST=%s\n' \
        "$(word)" "$(word)" "$(word)" "$PUBLIC_HOST" > .env
fi

mkdir -p tls
if [ ! -e tls/ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=queuesite authority" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout tls/ca.key -out tls/ca.pem 2>/dev/null
    chmod 644 tls/ca.pem
fi
for name in manager-1 manager-2 broker-1 broker-2 broker-3; do
    [ ! -e "tls/$name/server.pem" ] || continue
    mkdir -p "tls/$name"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
        -CA tls/ca.pem -CAkey tls/ca.key -subj "/CN=$name" \
        -addext "subjectAltName=DNS:$name,DNS:localhost,DNS:$PUBLIC_HOST,IP:127.0.0.1" \
        -addext basicConstraints=CA:FALSE \
        -keyout "tls/$name/server.key" -out "tls/$name/server.pem" 2>/dev/null
    cp tls/ca.pem "tls/$name/ca.pem"
    # The servers run as this user.
    chown -R "$OWNER" "tls/$name" 2>/dev/null \
        || echo "give tls/$name to $OWNER: sudo chown -R $OWNER $PWD/tls/$name"
done
# Until Prometheus has a token of its own; see docs/how-to/containers.md.
[ -e prometheus.token ] || { : > prometheus.token; chmod 644 prometheus.token; }
echo "made .env and tls/; the administrator's password: grep ADMIN_PASSWORD .env"
