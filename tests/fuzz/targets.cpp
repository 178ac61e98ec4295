#include "tests/fuzz/targets.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>

#include "core/error.h"
#include "launch/data/image/image.h"
#include "launch/data/image/packed.h"
#include "launch/data/readers/arrays.h"
#include "launch/data/readers/cifar.h"
#include "launch/data/readers/idx.h"
#include "launch/data/readers/npz.h"
#include "launch/data/readers/open.h"
#include "launch/files/gzip.h"
#include "launch/files/xz.h"
#include "launch/record/weights_file.h"
#include "layers/ops.h"
#include "tests/launch/data/golden_files.h"
#include "tests/support/source_files.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::fuzz {

namespace {

constexpr int64_t most_work = 1 << 20;  // pixels: larger images are sound, but slow

/// Every sample of a set that is not too large.
void read_all(const std::shared_ptr<const Dataset>& set) {
  if (!set || set->image_shape().elements() > most_work) return;
  std::vector<float> image(static_cast<size_t>(set->image_shape().elements()));
  for (int64_t i = 0; i < std::min<int64_t>(set->size(), 16); ++i) {
    const int32_t label = set->read(i, image);
    if (label < 0 || label >= set->classes()) throw Error("label {} of {} classes", label, set->classes());
  }
  static_cast<void>(set->content_sha256());
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

Bytes big_endian(std::initializer_list<uint32_t> numbers) {
  Bytes bytes;
  for (const uint32_t n : numbers)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(n >> shift));
  return bytes;
}

// Both files, the images' length in two bytes before them.
void read_idx(std::span<const uint8_t> bytes) {
  if (bytes.size() < 2) return;
  const size_t length = std::min<size_t>(bytes[0] * 256 + bytes[1], bytes.size() - 2);
  const auto images = bytes.subspan(2, length), labels = bytes.subspan(2 + length);
  read_all(
      parse_idx({"images", false, {images.begin(), images.end()}}, {"labels", false, {labels.begin(), labels.end()}}));
}
std::vector<Bytes> idx_seeds() {
  Bytes all{0, 16 + 12};
  for (const Bytes& part : {big_endian({0x803, 2, 3, 2}), Bytes(12, 7), big_endian({0x801, 2}), Bytes{3, 9}})
    all.insert(all.end(), part.begin(), part.end());
  return {all};
}

void read_gzip(std::span<const uint8_t> bytes) { static_cast<void>(gunzip(bytes, "x")); }
std::vector<Bytes> gzip_seeds() {
  Bytes packed(200);
  z_stream z{};
  Bytes text(300, 'a');
  deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  z.next_in = text.data();
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return {packed};
}

void read_xz(std::span<const uint8_t> bytes) { static_cast<void>(unxz(bytes, "x")); }
std::vector<Bytes> xz_seeds() {
  // `printf aaaaaaaaaaaaaaaaaaaaaaaa | xz`
  return {testing::from_base64(
      "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AAXAAZdADDuBgAAAAAAAOeRuDahhwvfAAEiGF1rWJQftvN9AQAAAAAEWVo=")};
}

void read_cifar(std::span<const uint8_t> bytes) {
  // What is whole records of the one is not of the other.
  const bool hundred = bytes.size() % 3074 == 0;
  read_all(std::make_shared<ByteImages>(parse_cifar(bytes, hundred ? cifar100 : cifar10, "x")));
}
std::vector<Bytes> cifar_seeds() { return {Bytes(3073, 5), Bytes(3074, 5)}; }

void read_image(std::span<const uint8_t> bytes) {
  const ImageSize size = image_size(bytes, "x");
  if (size.height * size.width > most_work) return;
  const int reduce = 1 << (bytes.size() % 4), channels = bytes.size() % 3 == 0 ? 1 : 3;
  const Image image = decode_image(bytes, "x", {.channels = channels, .reduce = [&](ImageSize) { return reduce; }});
  if (image.pixels.size() != static_cast<size_t>(image.height * image.width * channels))
    throw Error("{} bytes of {}x{}x{}", image.pixels.size(), image.height, image.width, channels);
  if (image.height != (size.height + image.reduced - 1) / image.reduced) throw Error("the header told another height");
}
std::vector<Bytes> image_seeds(const std::string& kind) {
  std::vector<Bytes> all;
  for (const auto& [name, image] : testing::golden_images()["images"].items())
    if (name.starts_with(kind)) all.push_back(testing::golden_file(name));
  return all;
}

void read_npy(std::span<const uint8_t> bytes) {
  const Array array = parse_npy({bytes.begin(), bytes.end()}, "x");
  Array labels{.kind = 'u', .size = 1, .shape = {array.shape.empty() ? 0 : array.shape[0]}, .bytes = {}};
  if (labels.shape[0] > most_work) return;
  labels.bytes.resize(static_cast<size_t>(labels.shape[0]));
  read_all(array_dataset(array, labels, 1));
}
void read_npz(std::span<const uint8_t> bytes) {
  auto arrays = parse_npz(bytes, "x", {"x_train", "y_train"});
  if (arrays.contains("x_train") && arrays.contains("y_train"))
    read_all(array_dataset(arrays["x_train"], arrays["y_train"], 1));
}
std::vector<Bytes> npy_seeds() {
  std::vector<Bytes> all;
  for (const char* name : {"u1", "f4", "f8", "labels_i8", "fortran", "big_endian", "text"})
    all.push_back(testing::golden_array(name));
  return all;
}
std::vector<Bytes> npz_seeds() {
  return {testing::golden_array("stored"), testing::golden_array("deflated"), testing::golden_array("half")};
}

/// The checksums are made right first: after them is what is to be tried.
void read_packed(std::span<const uint8_t> given) {
  Bytes bytes(given.begin(), given.end());
  PackedHeader header;
  if (bytes.size() >= sizeof header) {
    std::memcpy(&header, bytes.data(), sizeof header);
    const size_t room = bytes.size() - sizeof header;
    header.records = std::min<uint64_t>(header.records, room / sizeof(PackedEntry));
    const size_t index = header.records * sizeof(PackedEntry);
    header.text_bytes = std::min<uint64_t>(header.text_bytes, room - index);
    header.file_bytes = bytes.size();
    for (size_t i = 0; i < header.records; ++i) {
      PackedEntry entry;
      uint8_t* const at = bytes.data() + sizeof header + i * sizeof entry;
      std::memcpy(&entry, at, sizeof entry);
      if (entry.offset <= bytes.size() && entry.size <= bytes.size() - entry.offset)
        entry.checksum = static_cast<uint32_t>(crc32_z(0, bytes.data() + entry.offset, entry.size));
      std::memcpy(at, &entry, sizeof entry);
    }
    header.checksum = static_cast<uint32_t>(crc32_z(0, bytes.data() + sizeof header, index + header.text_bytes));
    std::memcpy(bytes.data(), &header, sizeof header);
  }
  const Data data = parse_packed(bytes, "x", {.fit = {.height = 4, .width = 4, .how = Fit::How::middle}}, nullptr);
  for (const auto& set : {data.train, data.test, data.validation}) read_all(set);
}
std::vector<Bytes> packed_seeds() {
  const testing::TemporaryFolder folder;
  std::vector<Bytes> all;
  const std::string image = (folder.path() / "ants").string(), file = (folder.path() / "packed").string();
  std::filesystem::create_directory(image);
  const auto png = testing::golden_text("png_bits");
  testing::write_file(image + "/x.png", png);
  for (const bool keep : {false, true}) {
    write_packed(keep ? open_data("images:" + folder.path().string()) : open_data("synthetic:2x3x1/2/3/1"), file, keep,
                 1);
    all.push_back(read_file(file));
    std::filesystem::remove(file);
  }
  return all;
}

Network small_network() {
  return Sequential("small", Input({4, 4, 1}), Conv2D(2, {3, 3}), Flatten(),
                    Dense(2, {.activation = Activation::softmax}));
}

void read_safetensors(std::span<const uint8_t> bytes) {
  static const Network network = small_network();
  const int descriptor = memfd_create("weights", MFD_CLOEXEC);
  if (descriptor < 0 || write(descriptor, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    throw Error("no memory for a file");
  try {
    static_cast<void>(read_weights("/proc/self/fd/" + std::to_string(descriptor), network));
  } catch (...) {
    close(descriptor);
    throw;
  }
  close(descriptor);
}
std::vector<Bytes> safetensors_seeds() {
  const testing::TemporaryFolder folder;
  const Network network = small_network();
  Weights weights;
  for (const auto& variable : network.variables())
    weights[variable.name].assign(static_cast<size_t>(variable.shape.elements()), 0.5F);
  const std::string file = (folder.path() / "weights").string();
  write_weights(file, network, weights);
  return {read_file(file)};
}

void read_json(std::span<const uint8_t> bytes) {
  static_cast<void>(network_from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "x"));
}
std::vector<Bytes> json_seeds() {
  std::vector<Bytes> all{bytes_of(testing::read_text(test::source_file("examples/small.json")))};
  all.push_back(bytes_of(network_to_json(small_network())));
  return all;
}

}  // namespace

std::span<const Target> targets() {
  static const std::vector<Target> all{
      {"idx", read_idx, idx_seeds},
      {"gzip", read_gzip, gzip_seeds},
      {"xz", read_xz, xz_seeds},
      {"cifar", read_cifar, cifar_seeds},
      {"jpeg", read_image, [] { return image_seeds("jpeg"); }},
      {"png", read_image, [] { return image_seeds("png"); }},
      {"npy", read_npy, npy_seeds},
      {"npz", read_npz, npz_seeds},
      {"packed", read_packed, packed_seeds},
      {"safetensors", read_safetensors, safetensors_seeds},
      {"json", read_json, json_seeds},
  };
  return all;
}

void run(const Target& target, std::span<const uint8_t> bytes) {
  try {
    target.read(bytes);
  } catch (const InputError&) {
    // What is not sound is refused.
  }
}

}  // namespace lockstep::fuzz
