# Sourced by launch/quickstart and tests/run, not run itself: installs what is missing, configures and builds.
# Sets `build`, the build folder (LOCKSTEP_BUILD, else build/).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LOCKSTEP_BUILD:-$root/build}

packages=(g++ cmake ninja-build git libdnnl-dev libopenmpi-dev openmpi-bin libgtest-dev libbenchmark-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libssl-dev zlib1g-dev)

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local admin=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "packages are missing (${missing[*]}); install them, or sudo, first" >&2; exit 1; }
    admin=(sudo)
  fi
  echo "installing ${missing[*]}"
  "${admin[@]}" apt-get update -qq
  "${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build_all() {
  # Output only where something changed or failed: a second call takes seconds and says little.
  [ -f "$build/build.ninja" ] || cmake -S "$root" -B "$build" -G Ninja
  cmake --build "$build" "$@"
}

# mpirun as it must be called on this machine: root needs leave.
mpi_environment() {
  if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}
