#!/bin/sh
# A fake of `poolbox-mint --config FILE check` for the dashboard's own tests: it refuses one threshold, and
# whatever says "refused". The real programs are asked in the browser test.
if grep -q -e 'onchain_threshold_sat = 10$' -e refused "$2"; then
    echo 'fake-check: payouts.onchain_threshold_sat = 10 must be 1000 or more' >&2
    exit 2
fi
echo OK
