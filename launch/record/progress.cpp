#include "launch/record/progress.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace lockstep {

namespace {

constexpr double redraw_interval = 0.1;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Columns of the terminal, asked for at each drawing since windows are resized.
size_t columns(std::FILE* out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// Whether what is written here reaches a terminal. Open MPI runs each rank on a pseudo-terminal of its own and passes
/// the text on, so there the output of the launcher, the rank's parent, counts.
bool is_terminal(std::FILE* out) {
  if (isatty(fileno(out)) != 1) return false;
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return true;
  std::error_code error;
  const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", getppid(), fileno(out)), error);
  return !error && (target.native().starts_with("/dev/pts/") || target.native().starts_with("/dev/tty"));
}

std::string speed(const Report& r) {
  return fmt::format("{:.0f} images/s  waiting for data {:.0f} %", r.images_per_second, 100 * r.data_share);
}

std::string bar(int64_t done, int64_t of, int64_t width) {
  const int64_t filled = of > 0 ? std::clamp<int64_t>(width * done / of, 0, width) : 0;
  return fmt::format("[{}{}]", std::string(static_cast<size_t>(filled), '='),
                     std::string(static_cast<size_t>(width - filled), ' '));
}

/// As much as `columns` hold, since a line that wraps could not be redrawn: what matters least goes first.
std::string fitting(const Report& r, const std::string& where, int64_t of, const std::string& steps,
                    const std::string& left, size_t columns) {
  const std::string metrics = metrics_text(r.epoch_so_far.metrics, "", "  ");
  enum { bar_at = 1, metrics_at = 4, speed_at, data_at, left_at };
  std::vector<std::string> parts{where + " ",
                                 bar(r.step_in_epoch + 1, of, 20) + " ",
                                 steps,
                                 fmt::format("  loss {:.4f}", r.epoch_so_far.loss),
                                 metrics,
                                 fmt::format("  {:.0f} images/s", r.images_per_second),
                                 fmt::format("  waiting for data {:.0f} %", 100 * r.data_share),
                                 left};
  std::string text = fmt::format("{}", fmt::join(parts, ""));
  for (const auto& [part, becomes] : {std::pair<size_t, std::string>{data_at, ""},
                                      {speed_at, ""},
                                      {bar_at, bar(r.step_in_epoch + 1, of, 10) + " "},
                                      {bar_at, " "},
                                      {metrics_at, ""},
                                      {left_at, ""}}) {
    if (text.size() <= columns) break;
    parts[part] = becomes;
    text = fmt::format("{}", fmt::join(parts, ""));
  }
  text.resize(std::min(text.size(), columns));
  return text;
}

}  // namespace

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

Progress::Progress(ProgressOptions options)
    : options_(std::move(options)), terminal_(options_.terminal.value_or(is_terminal(options_.out))) {
  if (!options_.clock) options_.clock = steady_seconds;
  start_ = options_.clock();
  last_ = start_;
}

bool Progress::due() {
  if (options_.quiet) return false;
  const double now = options_.clock();
  if (now - last_ < (terminal_ ? redraw_interval : options_.interval)) return false;
  last_ = now;
  return true;
}

void Progress::show(const std::string& drawn, const std::string& plain) {
  if (terminal_)
    fmt::print(options_.out, "\r\x1b[K{}", drawn);
  else
    fmt::print(options_.out, "{}\n", plain);
  drawn_ = terminal_;
  std::fflush(options_.out);
}

void Progress::step(const Report& r) {
  if (!due()) return;
  const int64_t done = r.step + 1 - options_.first_step;
  const std::string left = done > 0
                               ? fmt::format("  {} left", duration((last_ - start_) / static_cast<double>(done) *
                                                                   static_cast<double>(options_.steps - r.step - 1)))
                               : "";
  const std::string where = fmt::format("epoch {}/{}", r.epoch + 1, r.epochs);
  // The run may end within the epoch.
  const int64_t of = std::min(r.steps_per_epoch, options_.steps - (r.step - r.step_in_epoch));
  const std::string steps = fmt::format("step {}/{}", r.step_in_epoch + 1, of);
  show(fitting(r, where, of, steps, left, columns(options_.out) - 1),
       fmt::format("{}  {}  loss {:.4f}  {}{}{}", where, steps, r.epoch_so_far.loss,
                   metrics_text(r.epoch_so_far.metrics, "  "), speed(r), left));
}

void Progress::validation(const Report& r, int64_t done, int64_t steps) {
  if (!due()) return;
  const std::string where = fmt::format("epoch {}/{}", r.epoch + 1, r.epochs);
  const std::string text = fmt::format("validation step {}/{}", done, steps);
  std::string drawn = fmt::format("{} {} {}", where, bar(done, steps, 20), text);
  drawn.resize(std::min(drawn.size(), columns(options_.out) - 1));
  show(drawn, fmt::format("{}  {}", where, text));
}

void Progress::epoch(const Report& r) {
  std::string text =
      fmt::format("epoch {}/{}  loss {:.4f}  {}", r.epoch + 1, r.epochs, r.loss, metrics_text(r.metrics, "  "));
  if (r.validation)
    text += fmt::format("val_loss {:.4f}  {}", r.validation->loss, metrics_text(r.validation->metrics, "  ", "val_"));
  line(text + speed(r));
}

void Progress::line(std::string_view text) {
  if (options_.quiet) return;
  clear();
  fmt::print(options_.out, "{}\n", text);
  std::fflush(options_.out);
  last_ = options_.clock();
}

void Progress::clear() {
  if (drawn_) fmt::print(options_.out, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace lockstep
