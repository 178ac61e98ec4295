#include "launch/cli/options/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/error.h"

namespace lockstep::cli {

namespace {

/// With so many options a command's help is told by topic.
constexpr size_t many = 30;
constexpr size_t width = 100;

struct Topic {
  std::string name, group;  // "loss", "Loss and metrics"
  std::vector<const CLI::Option*> options = {};
};

std::vector<Topic> topics_of(const CLI::App& verb) {
  std::vector<Topic> topics;
  for (const CLI::Option* option : verb.get_options()) {
    const std::string& group = option->get_group();
    if (group.empty() || option == verb.get_help_ptr()) continue;
    auto topic = std::ranges::find(topics, group, &Topic::group);
    if (topic == topics.end()) {
      std::string name = group.substr(0, group.find(' '));
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      topic = topics.insert(topics.end(), {name, group});
    }
    topic->options.push_back(option);
  }
  return topics;
}

/// Its options' names, in lines that begin below each other.
std::string names_text(const Topic& topic) {
  constexpr size_t indent = 14;
  std::string text = fmt::format("  {:<{}}", topic.name, indent - 3), line;
  for (const CLI::Option* option : topic.options) {
    const std::string name = option->get_name();
    if (indent + line.size() + 1 + name.size() > width) {
      text += line + "\n" + std::string(indent - 1, ' ');
      line.clear();
    }
    line += " " + name;
  }
  return text + line + "\n";
}

}  // namespace

std::string help_text(const CLI::App& verb, const std::vector<std::string>& words) {
  const std::vector<Topic> topics = topics_of(verb);
  if (verb.get_options().size() < many || std::ranges::find(words, "all") != words.end()) return verb.help();
  const std::string start = fmt::format("{}\n", verb.get_description());
  std::string text;
  for (const std::string& word : words) {
    if (word.starts_with("-")) continue;
    const auto topic = std::ranges::find(topics, word, &Topic::name);
    if (topic == topics.end()) {
      std::vector<std::string> names{"all"};
      for (const Topic& one : topics) names.push_back(one.name);
      throw unknown("topic", word, names);
    }
    text += CLI::Formatter().make_group(topic->group, false, topic->options);
  }
  if (!text.empty()) return start + text;
  const std::string name = fmt::format("{} {}", verb.get_parent()->get_name(), verb.get_name());
  text = fmt::format(
      "Usage: {} [OPTIONS]\n\nOptions by topic; {} --help TOPIC says what they do, --help all says it of all:\n", name,
      name);
  for (const Topic& topic : topics) text += names_text(topic);
  return start + text + "\n" + verb.get_footer() + "\n";
}

}  // namespace lockstep::cli
