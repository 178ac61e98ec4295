// Losses by their formulas in double, gradients by the differences of these; metrics by counting.
#include <algorithm>
#include <functional>

#include "core/step_state.h"
#include "layers/losses/loss_inputs.h"
#include "layers/optimizers/loss_scale.h"
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

/// Predictions of a row of classes a sample or a pixel.
Shape predictions(Case& c, int64_t most = 200) {
  const int64_t classes = std::clamp<int64_t>(c.channels(), 2, most);
  if (c.one_in(3)) return {c.whole(1, 4), c.whole(1, 5), c.whole(1, 5), c.whole(2, 20)};
  return {c.whole(1, 20), classes};
}

struct Scale {
  explicit Scale(Case& c) : scaled(c.coin()), value(scaled ? std::exp2(static_cast<double>(c.whole(0, 12))) : 1) {}
  void add_to(std::vector<Buffer>& in) const {
    if (scaled) in.push_back(holding(loss_scale_type(), {value, 3}));
  }
  bool scaled;
  double value;
};

/// The rows of a loss' inputs: which of them count, and by how much each does.
struct Rows {
  Rows(Case& c, const Shape& shape)
      : width(static_cast<size_t>(shape[-1])),
        per_sample(static_cast<size_t>(shape.elements() / shape[0]) / width),
        all(per_sample * static_cast<size_t>(shape[0])) {
    lane = c.lane(shape[0], valid, c.whole(0, 99));
    counted = static_cast<size_t>(valid) * per_sample;
  }
  size_t width, per_sample, all, counted = 0;
  int64_t valid = 0;
  Buffer lane;
};

double log_sum_exp(const double* x, size_t n) {
  const double top = *std::max_element(x, x + n);
  double sum = 0;
  for (size_t k = 0; k < n; ++k) sum += std::exp(x[k] - top);
  return top + std::log(sum);
}

/// loss(row of logits, row): the sum over the rows that count of a sample's mean, and the slopes by its logits.
using RowLoss = std::function<double(const std::vector<double>&, size_t)>;
Sum total(const Buffer& x, const Rows& rows, const RowLoss& loss) {
  const std::vector<double> all = numbers(x);
  Sum sum;
  for (size_t r = 0; r < rows.counted; ++r) {
    const auto first = all.begin() + static_cast<ptrdiff_t>(r * rows.width);
    sum.add(loss({first, first + static_cast<ptrdiff_t>(rows.width)}, r) / static_cast<double>(rows.per_sample));
  }
  return sum;
}
Sums slopes(const Buffer& x, const Rows& rows, double scale, const RowLoss& loss) {
  const std::vector<double> all = numbers(x);
  Sums dx(all.size());
  for (size_t r = 0; r < rows.counted; ++r) {
    const auto first = all.begin() + static_cast<ptrdiff_t>(r * rows.width);
    std::vector<double> row(first, first + static_cast<ptrdiff_t>(rows.width));
    for (size_t k = 0; k < rows.width; ++k) {
      const double before = row[k];
      const double slope = slope_at(before, [&](double moved) {
        row[k] = moved;
        return loss(row, r);
      });
      row[k] = before;
      dx[r * rows.width + k] = slope * scale / static_cast<double>(rows.per_sample);
    }
  }
  return dx;
}

/// Slopes are to that of a row whose terms are up to about 1, whatever their own size.
void expect_slopes(Case& c, const Buffer& dx, const Sums& expected, const Rows& rows, double scale) {
  c.near("dx", dx, expected, 2e-6, 3e-6 * scale / static_cast<double>(rows.per_sample));
}

struct Labelled {
  explicit Labelled(Case& c) : x(c.uniform(predictions(c), -4, 4)), rows(c, x.shape()) {
    for (size_t r = 0; r < rows.all; ++r)
      labels.push_back(static_cast<double>(c.whole(0, static_cast<int64_t>(rows.width) - 1)));
    in = {x, holding(class_indices_of(x.type()), labels), rows.lane};
  }
  double loss(const std::vector<double>& row, size_t r) const {
    return log_sum_exp(row.data(), row.size()) - row[static_cast<size_t>(labels[r])];
  }
  Buffer x;
  Rows rows;
  std::vector<double> labels;
  std::vector<Buffer> in;
};

}  // namespace

template <>
void property<CrossEntropyOp>(Case& c) {
  Labelled of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  const auto out = c.run(CrossEntropyOp(scale.scaled), of.in);
  const auto loss = [&](const std::vector<double>& row, size_t r) { return of.loss(row, r); };
  c.near("the loss", number(out[0], 0), total(of.x, of.rows, loss));
  double right = 0;
  for (size_t r = 0; r < of.rows.counted; ++r) {
    const auto row = of.x.as().subspan(r * of.rows.width, of.rows.width);
    right += static_cast<double>(std::ranges::max_element(row) - row.begin()) == of.labels[r] ? 1 : 0;
  }
  c.equal("right predictions", out[1], {right});
}

template <>
void property<CrossEntropyGradOp>(Case& c) {
  Labelled of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  const Buffer dx = c.run(CrossEntropyGradOp(scale.scaled), of.in)[0];
  const auto loss = [&](const std::vector<double>& row, size_t r) { return of.loss(row, r); };
  expect_slopes(c, dx, slopes(of.x, of.rows, scale.value, loss), of.rows, scale.value);
}

namespace {

struct Weighted {
  explicit Weighted(Case& c) : x(c.uniform(predictions(c), -3, 3)), rows(c, x.shape()) {
    t = c.uniform(x.shape(), 0, 2 / static_cast<float>(rows.width));
    options.label_smoothing = c.coin() ? 0 : c.real(0.01F, 0.5F);
    options.focal = c.coin();
    options.alpha = c.real(0.1F, 1);
    options.gamma = c.one_of({0.5F, 1.0F, 2.0F, 3.5F});
    in = {x, t, rows.lane};
  }
  double loss(const std::vector<double>& row, size_t r) const {
    const double normaliser = log_sum_exp(row.data(), row.size()), smoothing = double{options.label_smoothing};
    double sum = 0;
    for (size_t k = 0; k < row.size(); ++k) {
      const double log_p = row[k] - normaliser, target = number(t, r * rows.width + k);
      const double smoothed = target * (1 - smoothing) + smoothing / static_cast<double>(rows.width);
      const double factor =
          options.focal ? double{options.alpha} * std::pow(1 - std::exp(log_p), double{options.gamma}) : 1;
      sum -= factor * smoothed * log_p;
    }
    return sum;
  }
  Buffer x, t;
  Rows rows;
  CategoricalOptions options;
  std::vector<Buffer> in;
};

}  // namespace

template <>
void property<CategoricalLossOp>(Case& c) {
  Weighted of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  const auto loss = [&](const std::vector<double>& row, size_t r) { return of.loss(row, r); };
  c.near("the loss", number(c.run(CategoricalLossOp(of.options, scale.scaled), of.in)[0], 0),
         total(of.x, of.rows, loss));
}

template <>
void property<CategoricalLossGradOp>(Case& c) {
  Weighted of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  const Buffer dx = c.run(CategoricalLossGradOp(of.options, scale.scaled), of.in)[0];
  const auto loss = [&](const std::vector<double>& row, size_t r) { return of.loss(row, r); };
  expect_slopes(c, dx, slopes(of.x, of.rows, scale.value, loss), of.rows, scale.value);
}

namespace {

/// Predictions and targets, number by number.
struct Paired {
  explicit Paired(Case& c) {
    using Kind = ElementLoss::Kind;
    loss = {.kind = c.one_of({Kind::squared, Kind::absolute, Kind::huber, Kind::binary, Kind::focal}),
            .delta = c.real(0.2F, 2),
            .label_smoothing = c.coin() ? 0 : c.real(0.01F, 0.5F),
            .alpha = c.real(0.1F, 0.9F),
            .gamma = c.one_of({0.5F, 1.0F, 2.0F, 3.5F}),
            .balanced = c.coin()};
    const bool of_classes = loss.kind == Kind::binary || loss.kind == Kind::focal;
    const Shape shape = c.coin() ? Shape{c.whole(1, 40), c.channels()} : c.images();
    x = c.uniform(shape, -3, 3);
    t = of_classes ? c.uniform(shape, 0, 1) : c.uniform(shape, -3, 3);
    for (size_t i = 0; i < count(x); ++i) {
      const float size = std::abs(x[i] - t[i]);  // not in a kink
      if (!of_classes && (size < 0.01F || std::abs(size - loss.delta) < 0.01F)) t[i] += 0.02F;
    }
    each = static_cast<size_t>(shape.elements() / shape[0]);
    lane = c.lane(shape[0], valid);
    in = {x, t, lane};
  }
  double value(double v, size_t i) const {
    using Kind = ElementLoss::Kind;
    const double target = number(t, i), size = std::abs(v - target), delta = double{loss.delta};
    if (loss.kind == Kind::squared) return size * size;
    if (loss.kind == Kind::absolute) return size;
    if (loss.kind == Kind::huber) return size <= delta ? size * size / 2 : delta * (size - delta / 2);
    const double s = target * (1 - double{loss.label_smoothing}) + double{loss.label_smoothing} / 2;
    const double p = 1 / (1 + std::exp(-v)), plain = -s * std::log(p) - (1 - s) * std::log1p(-p);
    if (loss.kind == Kind::binary) return plain;
    const double right = s * p + (1 - s) * (1 - p), alpha = double{loss.alpha};
    const double weight = loss.balanced ? s * alpha + (1 - s) * (1 - alpha) : 1;
    return weight * std::pow(1 - right, double{loss.gamma}) * plain;
  }
  size_t counted() const { return static_cast<size_t>(valid) * each; }

  ElementLoss loss;
  Buffer x, t, lane;
  int64_t valid = 0;
  size_t each = 0;
  std::vector<Buffer> in;
};

}  // namespace

template <>
void property<ElementLossOp>(Case& c) {
  Paired of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  Sum sum;
  for (size_t i = 0; i < of.counted(); ++i) sum.add(of.value(number(of.x, i), i) / static_cast<double>(of.each));
  c.near("the loss", number(c.run(ElementLossOp(of.loss, scale.scaled), of.in)[0], 0), sum);
}

template <>
void property<ElementLossGradOp>(Case& c) {
  Paired of(c);
  const Scale scale(c);
  scale.add_to(of.in);
  const double factor = scale.value / static_cast<double>(of.each);
  Sums dx(count(of.x));
  for (size_t i = 0; i < of.counted(); ++i)
    dx[i] = factor * slope_at(number(of.x, i), [&](double v) { return of.value(v, i); });
  c.near("dx", c.run(ElementLossGradOp(of.loss, scale.scaled), of.in)[0], dx, 4e-6, 2e-6 * factor);
}

namespace {

/// Rows of small integers, in which many are equal.
struct Ranked {
  explicit Ranked(Case& c, int64_t most = 200) : x(c.integers(predictions(c, most), -3, 3)), rows(c, x.shape()) {
    const bool indices = c.coin();
    const Buffer weights = c.integers(x.shape(), 0, 3);
    for (size_t r = 0; r < rows.all; ++r) {
      const auto row = weights.as().subspan(r * rows.width, rows.width);
      targets.push_back(indices ? static_cast<size_t>(c.whole(0, static_cast<int64_t>(rows.width) - 1))
                                : static_cast<size_t>(std::ranges::max_element(row) - row.begin()));
    }
    const std::vector<double> labels(targets.begin(), targets.end());
    in = {x, indices ? holding(class_indices_of(x.type()), labels) : weights, rows.lane};
  }
  Buffer x;
  Rows rows;
  std::vector<size_t> targets;
  std::vector<Buffer> in;
};

}  // namespace

template <>
void property<TopKOp>(Case& c) {
  const Ranked of(c);
  const int64_t k = c.whole(1, std::min<int64_t>(static_cast<int64_t>(of.rows.width), 6));
  double right = 0;
  for (size_t r = 0; r < of.rows.counted; ++r) {
    const auto row = of.x.as().subspan(r * of.rows.width, of.rows.width);
    std::vector<size_t> order(of.rows.width);
    for (size_t j = 0; j < order.size(); ++j) order[j] = j;
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return row[a] > row[b]; });
    right += std::find(order.begin(), order.begin() + k, of.targets[r]) != order.begin() + k ? 1 : 0;
  }
  c.equal("right predictions", c.run(TopKOp(k), of.in)[0], {right});
}

template <>
void property<ConfusionOp>(Case& c) {
  if (c.one_in(3)) {
    const Shape shape = c.images();
    const Buffer x = c.integers(shape, -3, 3), t = c.integers(shape, 0, 1);
    const float threshold = c.one_of({0.0F, 0.5F, -1.0F});
    int64_t valid = 0;
    const Buffer lane = c.lane(shape[0], valid);
    std::vector<double> cells(4);
    for (size_t i = 0; i < static_cast<size_t>(valid * (shape.elements() / shape[0])); ++i)
      ++cells[(t[i] == 1 ? 2U : 0U) + (x[i] > threshold ? 1U : 0U)];
    return c.equal("counts", c.run(ConfusionOp(true, threshold), {x, t, lane})[0], cells);
  }
  const Ranked of(c, on_cuda() ? 20 : 200);  // emulated blocks, one a cell, take their time
  std::vector<double> cells(of.rows.width * of.rows.width);
  for (size_t r = 0; r < of.rows.counted; ++r) {
    const auto row = of.x.as().subspan(r * of.rows.width, of.rows.width);
    const auto predicted = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
    ++cells[of.targets[r] * of.rows.width + predicted];
  }
  c.equal("counts", c.run(ConfusionOp(), of.in)[0], cells);
}

}  // namespace lockstep::test
