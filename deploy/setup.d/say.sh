# What setup says: one line a step, long output into a log file, and on failure its last lines with what to do next.

setup_log=.cache/setup.log
report_every=60 # seconds
spinner_pid=''

if [ -t 1 ]; then on_terminal=yes; else on_terminal=''; fi
if [ -n "$on_terminal" ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' cyan=$'\e[36m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' cyan='' plain=''
fi

# begin [WHAT]
begin() {
  exec {screen}>&1
  began=$EPOCHREALTIME
  : >"$setup_log"
  trap stop_spinner EXIT
  echo "${bold}${1:-Setting up Tenfold}${plain} ${dim}in $PWD${plain}"
}

finish() { echo "${bold}Ready${plain} ${dim}after $(seconds_since "$began") s${plain}"; }

# ready STEP TEXT: the step has nothing to do, or has been done.
ready() { printf '  %s✓%s %-16s %s\n' "$green" "$plain" "$1" "$2"; }

# note TEXT: a remark that belongs to the step above it.
note() { printf '    %-16s %s%s%s\n' '' "$dim" "$1" "$plain"; }

# meanwhile TEXT: a remark of a step that is under way, whose output goes to the log.
meanwhile() {
  [ -z "$on_terminal" ] || printf '\r\e[K' >&"$screen"
  note "$1" >&"$screen"
}

# work STEP WHY HINT COMMAND...: runs the command with its output in the log. HINT says what to do should it fail.
work() {
  local step=$1 why=$2 hint=$3 started=$EPOCHREALTIME status
  shift 3
  start_spinner "$step" "$why"
  printf '\n=== %s: %s\n=== %s\n' "$step" "$why" "$*" >>"$setup_log"
  set +e # not `||`: inside a condition bash would let COMMAND go on after its own errors
  (set -e; "$@") >>"$setup_log" 2>&1 </dev/null
  status=$?
  set -e
  stop_spinner
  [ "$status" -eq 0 ] || fail "$step" "$why: failed after $(seconds_since "$started") s (exit $status)" "$hint"
  ready "$step" "$why ${dim}($(seconds_since "$started") s)${plain}"
}

# fail STEP WHAT HINT: ends setup, with the end of what its last command printed.
fail() {
  printf '  %s✗%s %-16s %s\n' "$red" "$plain" "$1" "$2" >&2
  if [ -s "$setup_log" ]; then
    echo "    ${dim}The end of $setup_log:${plain}" >&2
    awk '/^=== /{n = 0; next} NF {line[n++] = $0} END {for (i = n > 15 ? n - 15 : 0; i < n; i++) print "      " substr(line[i], 1, 200)}' "$setup_log" >&2
  fi
  printf '    %sWhat to do:%s %s\n' "$bold" "$plain" "$3" >&2
  exit 1
}

# On a terminal a step's line counts its seconds, and its parts where its output numbers them, until the step is done. Off a
# terminal one line says that it began, and another one each minute how many parts are done.
start_spinner() {
  if [ -z "$on_terminal" ]; then
    printf '  … %-16s %s\n' "$1" "$2"
    report &
  else
    local text columns
    columns=$(tput cols 2>/dev/null || echo 80)
    text=$(printf '%-16s %s' "$1" "$2")
    spin "${text:0:columns - 26}" & # a line that wraps could not be overwritten
  fi
  spinner_pid=$!
}

spin() {
  local began=$EPOCHREALTIME frame parts=''
  while kill -0 $$ 2>/dev/null; do
    for frame in ⠋ ⠙ ⠹ ⠸ ⠼ ⠴ ⠦ ⠧ ⠇ ⠏; do
      printf '\r  %s%s%s %s %s%s%.0f s%s\e[K' "$cyan" "$frame" "$plain" "$1" "$dim" "$parts" "$(seconds_since "$began")" "$plain"
      sleep 0.12
    done
    parts=$(parts_done)
    parts=${parts:+$parts, }
  done
}

report() {
  local parts told='' nothing
  exec {nothing}<> <(:) # `sleep` would outlive this function, and hold what it prints to open
  while kill -0 $$ 2>/dev/null; do
    read -rt "$report_every" -u "$nothing" || true
    parts=$(parts_done)
    [ "$parts" = "$told" ] || note "$parts"
    told=$parts
  done
}

# How far the newest command is, when it counts what it does as ninja does: "12 of 52".
parts_done() {
  awk '/^=== /{last = ""} /^\[[0-9]+\/[0-9]+\]/ {last = $1} END {gsub(/[][]/, "", last); sub("/", " of ", last); print last}' "$setup_log"
}

stop_spinner() {
  [ -n "$spinner_pid" ] || return 0
  kill "$spinner_pid" 2>/dev/null || true
  wait "$spinner_pid" 2>/dev/null || true
  spinner_pid=''
  [ -z "$on_terminal" ] || printf '\r\e[K'
}

# seconds_since EPOCHREALTIME: with one decimal. (The decimal sign of EPOCHREALTIME follows the locale.)
seconds_since() {
  local tenths=$(((${EPOCHREALTIME//[.,]/} - ${1//[.,]/}) / 100000))
  echo "$((tenths / 10)).$((tenths % 10))"
}
