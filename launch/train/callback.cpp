#include "launch/train/callback.h"

#include <map>

namespace lockstep {

CallbackStates states_of(const Callbacks& callbacks) {
  CallbackStates all;
  for (const auto& callback : callbacks) all.emplace_back(callback->name(), callback->state());
  return all;
}

void restore_states(const Callbacks& callbacks, const CallbackStates& states) {
  std::map<std::string, size_t> next;  // by name: after the state that was given last
  for (const auto& callback : callbacks) {
    size_t& at = next[callback->name()];
    while (at < states.size() && states[at].first != callback->name()) ++at;
    if (at < states.size() && states[at].second.any()) callback->restore(states[at].second);
    ++at;
  }
}

}  // namespace lockstep
