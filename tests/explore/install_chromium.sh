#!/bin/sh
# Install Debian's chromium for the test of the explorer's page, if there is none and we may.
if [ "$DYNLIB_TEST_BROWSER" = none ] || command -v "${DYNLIB_TEST_BROWSER:-chromium}" >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=no; fi
if [ "$sudo" = no ] || ! command -v apt-get >/dev/null; then
    echo "no chromium, and no right to install it: install it, or set DYNLIB_TEST_BROWSER=none" >&2
    exit 0
fi
echo "installing chromium for the test of the explorer's page"
$sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
    echo "chromium could not be installed; the test of the page is left out" >&2
