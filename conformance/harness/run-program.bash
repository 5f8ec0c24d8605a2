# Sourced by programs/*: runs under swiommu what reports as the kernel's selftests do.
#
#   run_program NAME BINARY HUGE_PAGES
#   run_selftest NAME BINARY HUGE_PAGES
#
# The first runs the program BINARY, the second BINARY of the kernel's IOMMUFD selftests, and both report for conformance/NAME. The
# arrays swiommu_options and granted say with which options and with which capabilities beyond its own; an unprivileged user is
# granted none.
set -euo pipefail

# A test that pins more than this needs CAP_IPC_LOCK. It is the limit of a Debian login.
memlock_kib=8192

# Whether this process has the capability with this bit number in its effective set.
has_capability() {
    local effective
    effective=$(awk '$1 == "CapEff:" { print $2 }' /proc/self/status)
    (((0x$effective >> $1) & 1))
}

run_selftest() {
    local selftests
    selftests=$("$CONFORMANCE/harness/kernel-selftests")
    run_program "$1" "$selftests/$2" "$3"
}

run_program() {
    local name=$1 binary=$2 huge_pages=$3
    local swiommu=${SWIOMMU:?} become=() lacks=() capability what
    log=$CONFORMANCE_CACHE/$name.log

    ulimit -S -l "$memlock_kib" 2>/dev/null || ulimit -l "$memlock_kib" || {
        echo "$name: needs RLIMIT_MEMLOCK of $memlock_kib KiB or more" >&2
        exit 1
    }
    if [[ $CONFORMANCE_AS_USER = yes ]]; then
        # The checkout need not be readable for others.
        install -m 755 -t "$CONFORMANCE_SCRATCH" "$binary" "$swiommu"
        binary=$CONFORMANCE_SCRATCH/$(basename "$binary")
        swiommu=$CONFORMANCE_SCRATCH/$(basename "$swiommu")
        become=(setpriv --reuid=nobody --regid=nogroup --clear-groups --reset-env
            --inh-caps=-all --ambient-caps=-all --bounding-set=-all --)
        log=$CONFORMANCE_CACHE/$name.as-user.log
        cd "$CONFORMANCE_SCRATCH"
        lacks+=("${granted[@]}" CAP_IPC_LOCK)
        granted=()
    elif ! has_capability 14; then
        lacks+=(CAP_IPC_LOCK)
    fi
    for capability in "${granted[@]}"; do
        swiommu_options+=(--grant "$capability")
    done
    for what in "${lacks[@]}"; do
        echo "lacks $what"
    done
    "$CONFORMANCE/harness/kselftest.py" \
        --expected "$CONFORMANCE/$name" --huge-pages "$huge_pages" --log "$log" -- \
        "${become[@]}" "$swiommu" run "${swiommu_options[@]}" -- "$binary"
}
