# Sourced by launch/quickstart and tests/run, not run itself: installs what is missing, configures and builds.
# Sets `build`, the build folder (LOCKSTEP_BUILD, else build/).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LOCKSTEP_BUILD:-$root/build}

packages=(g++ cmake ninja-build ccache git libdnnl-dev libopenmpi-dev openmpi-bin libgtest-dev libbenchmark-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libssl-dev zlib1g-dev
  libhwloc-dev libjpeg-dev libpng-dev liblzma-dev)

# cuDNN's C++ interface: headers alone, which NVIDIA ships in a Python wheel.
cudnn_frontend=nvidia-cudnn-frontend==1.32.0

has_cuda_toolkit() { command -v nvcc >/dev/null || [ -x "${CUDAToolkit_ROOT:-/usr/local/cuda}/bin/nvcc" ]; }

install_packages() {
  local missing=() package
  if has_cuda_toolkit; then packages+=(python3-venv); fi
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
