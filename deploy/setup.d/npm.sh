# Node.js, the npm packages, and the TypeScript build.

oldest_node=20
export npm_config_cache=$PWD/.cache/npm # nothing is written outside the checkout

check_node() {
  local version
  version=$(node --version 2>/dev/null) ||
    fail 'Node.js' 'not found' "install Node.js $oldest_node or newer (https://nodejs.org), then run this again."
  version=${version#v}
  [ "${version%%.*}" -ge "$oldest_node" ] ||
    fail 'Node.js' "$version is too old" "install Node.js $oldest_node or newer (https://nodejs.org), then run this again."
  ready 'Node.js' "$version"
}

install_npm_packages() {
  local lock
  lock="$(digest_of package-lock.json) $(node -p 'process.arch + process.versions.modules')"
  if stamped node_modules/.tenfold-setup "$lock" node_modules/.bin; then
    ready 'npm packages' 'as package-lock.json says'
    return
  fi
  work 'npm packages' 'npm ci, as package-lock.json says' \
    'see whether npm reaches its registry (npm ping), then run this again.' \
    npm ci --no-audit --no-fund
  stamp node_modules/.tenfold-setup "$lock"
}

build_typescript() {
  local sources
  sources=$(typescript_digest)
  if stamped dist/.tenfold-setup "$sources" dist/.tsbuildinfo; then
    ready 'Tenfold' 'dist/ is up to date'
    return
  fi
  work 'Tenfold' 'TypeScript into dist/' \
    'the compiler says above what it does not like; a clean checkout of a released commit builds.' \
    npm run --silent build
  stamp dist/.tenfold-setup "$sources"
}

# Everything that `npm run build` reads.
typescript_digest() {
  digest_of package.json package-lock.json tsconfig*.json proto shared coordinator agent deploy \
    -not -path 'agent/trainer/*' -not -path '*/node_modules/*'
}
