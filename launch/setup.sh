# Sourced by launch/quickstart and tests/run, not run itself: installs what is missing, configures and builds.
# Sets `build`, the build folder (LOCKSTEP_BUILD, else build/).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LOCKSTEP_BUILD:-$root/build}

packages=(g++ cmake ninja-build git libdnnl-dev libopenmpi-dev openmpi-bin libgtest-dev libbenchmark-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libssl-dev zlib1g-dev
  libhwloc-dev libjpeg-dev libpng-dev liblzma-dev)

# What saves time and is not needed: where it cannot be had, the build goes on without.
helpful=(ccache)

# cuDNN's C++ interface: headers alone, which NVIDIA ships in a Python wheel.
cudnn_frontend=nvidia-cudnn-frontend==1.32.0

has_cuda_toolkit() { command -v nvcc >/dev/null || [ -x "${CUDAToolkit_ROOT:-/usr/local/cuda}/bin/nvcc" ]; }

# Those of the packages named that are not installed.
missing_of() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

install_packages() {
  if has_cuda_toolkit; then packages+=(python3-venv); fi
  local missing wanted
  missing=($(missing_of "${packages[@]}")) wanted=($(missing_of "${helpful[@]}"))
  [ $((${#missing[@]} + ${#wanted[@]})) -eq 0 ] && return
  local admin=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      [ ${#missing[@]} -eq 0 ] && return
      echo "packages are missing (${missing[*]}); install them, or sudo, first" >&2
      exit 1
    fi
    admin=(sudo)
  fi
  local install=("${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
  if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    "${admin[@]}" apt-get update -qq
    "${install[@]}" "${missing[@]}"
  fi
  if [ ${#wanted[@]} -gt 0 ] && ! "${install[@]}" "${wanted[@]}" >/dev/null 2>&1; then
    echo "going on without ${wanted[*]}, which cannot be installed"
  fi
}

fetch_cudnn_frontend() {
  local folder=$build/cudnn-frontend
  if ! has_cuda_toolkit || [ -f "$folder/include/cudnn_frontend.h" ]; then return; fi
  echo "fetching $cudnn_frontend"
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" download --quiet --no-deps --dest "$folder" "$cudnn_frontend"
  python3 -m zipfile -e "$folder"/*.whl "$folder"
  rm -f "$build/build.ninja"  # configured without it
}

build_all() {
  fetch_cudnn_frontend
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
