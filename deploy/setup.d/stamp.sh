# Stamps: a step is skipped when the file it left says that it was made from exactly these inputs. Keyed on content, so that a
# fresh clone, a branch switched there and back, or a touched file rebuild nothing that is there already.

# digest_of PATH... [FIND-TEST...]: one hash over the names and contents of files and folders.
digest_of() {
  find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c -64
}

# stamped STAMP DIGEST PRODUCT: PRODUCT is there, made from DIGEST's inputs, and nobody has made it anew by hand since.
stamped() { [ -e "$1" ] && [ "$(<"$1")" = "$2" ] && [ -e "$3" ] && [ ! "$3" -nt "$1" ]; }

# stamp STAMP DIGEST
stamp() { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }
