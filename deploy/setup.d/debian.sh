# The Debian packages, each with what it is for.

debian_packages() {
  sed 's/ *#.*//' <<'END'
etcd-server            # the coordinator's store; `tenfold up` starts a private one
etcd-client            # etcdctl, to look into it
g++                    # the trainer is C++ …
cmake
ninja-build
pkg-config
ccache                 # … and rebuilding it should be quick
libgloo-dev            # headers of the gradient exchange between CPU ranks, which LibTorch does not ship
libturbojpeg0-dev      # JPEG …
libjpeg-dev            # … and the inner parts of its library, one of which the trainer replaces
libspng-dev            # PNG
libwebp-dev            # WebP
libstb-dev             # letters in pictures …
fonts-dejavu-core      # … and their font, which becomes part of the trainer
libzip-dev             # PyTorch checkpoints
libssl-dev             # SHA-256 of what the trainer reads and writes
libyaml-cpp-dev        # data.yaml and model yamls
nlohmann-json3-dev     # configs, events, commands
libgtest-dev           # the trainer's tests
dataset-fashion-mnist  # product photographs (MIT licence) that the demo's data set is made of
ca-certificates        # npm and pip speak TLS
END
  # pip brings LibTorch into a virtual environment; not every Python can make one.
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3 python3-venv
}

install_debian_packages() {
  local missing
  end_interrupted_installation
  mapfile -t missing < <(missing_debian_packages)
  if [ "${#missing[@]}" -eq 0 ]; then
    ready 'Debian packages' "all $(debian_packages | wc -w) are there"
    return
  fi
  command -v apt-get >/dev/null ||
    fail 'Debian packages' 'this is neither Debian nor Ubuntu (no apt-get)' \
      "install what these packages are called on your system, or use a Debian container: $(debian_packages | xargs)"
  become_root "${missing[@]}"
  work 'Debian packages' "install ${#missing[@]}: $(shortened "${missing[*]}")" \
    "see whether apt works (sudo apt-get update), or install them yourself: apt-get install --no-install-recommends ${missing[*]}" \
    apt_install "${missing[@]}"
}

missing_debian_packages() {
  debian_packages | xargs -n1 | sort -u |
    comm -23 - <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

# The command prefix of what needs root: none for root itself, else sudo, after its password has been asked for.
as_root=()
become_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  local by_hand="as root: apt-get update && apt-get install --no-install-recommends $*
                Then run this again."
  command -v sudo >/dev/null || fail 'Debian packages' "$# are missing, and installing them needs root" "$by_hand"
  if ! sudo -n true 2>/dev/null; then
    [ -t 0 ] || fail 'Debian packages' "$# are missing, and sudo asks for a password that nobody is here to type" "$by_hand"
    note "sudo asks for your password to install: $*"
    sudo -v || fail 'Debian packages' "$# are missing, and sudo was refused" "$by_hand"
  fi
  as_root=(sudo)
}

# Debian's etcd-server starts and enables a system-wide etcd on its default ports. Nobody asked for that here: it is kept from
# starting while apt works, and disabled afterwards, but only if it is this run that brings it.
apt_install() {
  update_package_lists || echo 'apt-get update failed; trying with the lists that are there'
  if [[ " $* " == *' etcd-server '* ]]; then
    trap leave_no_etcd EXIT # work runs this in a subshell: the trap fires when apt is through, fails, or is interrupted
    forbid_etcd_start
  fi
  apt_get install --yes --no-install-recommends "$@"
}

# In English, since what it says is looked at. It waits for whoever holds dpkg's lock (a fresh machine's unattended upgrades).
apt_get() { "${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

# The lock on the package lists is one that apt itself does not wait for.
update_package_lists() {
  local said waited=0
  until said=$(apt_get update 2>&1); do
    echo "$said"
    [[ $said == *'Could not get lock'* && $waited -lt 300 ]] || return 1
    [ "$waited" -gt 0 ] || meanwhile 'another apt holds the package lists: waiting for it, at most 5 minutes'
    sleep 5
    waited=$((waited + 5))
  done
  echo "$said"
}

policy=/usr/sbin/policy-rc.d
policy_mark='# Written by Tenfold while it installs etcd-server, removed afterwards.'

# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids the action. A policy that is there already
# is the machine owner's, and stays.
forbid_etcd_start() {
  [ ! -e "$policy" ] || return 0
  "${as_root[@]}" tee "$policy" >/dev/null <<END
#!/bin/sh
$policy_mark
[ "\$1" != etcd ] || exit 101
END
  "${as_root[@]}" chmod 755 "$policy"
}

leave_no_etcd() {
  disable_etcd_service
  ! is_own_policy || "${as_root[@]}" rm -f "$policy"
}

is_own_policy() { grep -qsxF "$policy_mark" "$policy"; }

disable_etcd_service() {
  if command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable etcd.service || true
    [ ! -d /run/systemd/system ] || "${as_root[@]}" systemctl stop etcd.service || true
  elif command -v update-rc.d >/dev/null; then
    "${as_root[@]}" update-rc.d etcd disable || true
  fi
}

# A setup that was killed while apt worked could not clear up after itself.
end_interrupted_installation() {
  is_own_policy || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      note "a setup that was killed left $policy behind, and maybe an etcd service: sudo rm $policy; sudo systemctl disable --now etcd"
      return
    fi
    as_root=(sudo)
  fi
  leave_no_etcd >>"$setup_log" 2>&1
}

shortened() { if [ "${#1}" -le 72 ]; then echo "$1"; else echo "${1:0:71}…"; fi; }
