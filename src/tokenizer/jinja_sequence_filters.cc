// The filters over sequences and mappings.

#include <algorithm>
#include <set>

#include "tokenizer/jinja_natives.h"
#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

/// item.a.b for the path "a.b"; parts of digits are indices. `otherwise`, unless it is undefined, replaces what is
/// not there.
Value follow(Runtime& runtime, Value item, const Value& path, const Value& otherwise = {}) {
  if (path.is_integer()) return get_item(runtime, item, path);
  const std::string text = to_text(path, "", "an attribute");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('.', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const bool is_index = !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == part.npos;
    item = get_item(runtime, item, is_index ? Value(std::int64_t{std::stoll(part)}) : runtime.text(part));
    if (item.is_undefined() && !otherwise.is_undefined()) item = otherwise;
    begin = end + 1;
  }
  return item;
}

/// What to sort, group or deduplicate by: the attribute if there is one, texts in lower case unless asked otherwise.
Value sort_key(Runtime& runtime, const Value& item, const Value& attribute, bool case_sensitive) {
  const Value key = attribute.is_undefined() || attribute.is_none() ? item : follow(runtime, item, attribute);
  return key.is_text() && !case_sensitive ? runtime.text(to_lower(key.text())) : key;
}

std::vector<Value> sorted_by(Runtime& runtime, std::vector<Value> items, const std::vector<Value>& keys, bool reverse) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  // A reversed sort of Python keeps equal elements in their order too.
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return compare(runtime, keys[reverse ? b : a], keys[reverse ? a : b]) < 0;
  });
  std::vector<Value> result;
  for (const std::size_t i : order) result.push_back(std::move(items[i]));
  return result;
}

Value sort(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> items = runtime.iterate(self);
  std::vector<Value> keys;
  for (const Value& item : items) {
    if (!values[2].is_text() || values[2].text().find(',') == std::string::npos) {
      keys.push_back(sort_key(runtime, item, values[2], is_true(values[1])));
      continue;
    }
    std::vector<Value> parts;  // "a,b": by a, then by b
    for (std::size_t begin = 0; begin <= values[2].text().size();) {
      const std::size_t end = std::min(values[2].text().find(',', begin), values[2].text().size());
      const Value path = runtime.text(values[2].text().substr(begin, end - begin));
      parts.push_back(sort_key(runtime, item, path, is_true(values[1])));
      begin = end + 1;
    }
    keys.push_back(runtime.list(std::move(parts)));
  }
  return runtime.list(sorted_by(runtime, std::move(items), keys, is_true(values[0])));
}

std::vector<Value> pairs(Runtime& runtime, const Value& mapping, std::string_view what) {
  if (mapping.is_undefined()) return {};
  if (!mapping.is_dict()) raise("{} needs a mapping, not '{}'", what, type_name(mapping));
  std::vector<Value> result;
  for (const auto& [key, value] : mapping.dict().items) {
    result.push_back(runtime.sequence(Sequence::Type::kTuple, {key, value}));
  }
  return result;
}

Value items(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return runtime.generator(pairs(runtime, self, "items"));
}

Value dict_sort(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"case_sensitive", "by", "reverse"});
  const std::string by = to_text(values[1], "key", "the argument 'by' of dictsort");
  if (by != "key" && by != "value") raise("dictsort sorts by \"key\" or \"value\"");
  if (self.is_undefined()) raise_undefined(self);
  std::vector<Value> items = pairs(runtime, self, "dictsort");
  const Value part(std::int64_t{by == "value"});
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(sort_key(runtime, item, part, is_true(values[0])));
  return runtime.list(sorted_by(runtime, std::move(items), keys, is_true(values[2])));
}

Value unique(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"case_sensitive", "attribute"});
  std::vector<Value> result;
  std::set<std::string> seen;
  for (const Value& item : runtime.iterate(self)) {
    const std::string key = hash_key(runtime, sort_key(runtime, item, values[1], is_true(values[0])));
    runtime.charge(key.size());
    if (seen.insert(key).second) result.push_back(item);
  }
  return runtime.generator(std::move(result));
}

template <bool want_max>
Value extreme(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = runtime.iterate(self);
  if (items.empty()) return runtime.undefined("there is no smallest or largest item of an empty sequence");
  Value best = items[0];
  Value best_key = sort_key(runtime, best, values[1], is_true(values[0]));
  for (std::size_t i = 1; i < items.size(); ++i) {
    Value key = sort_key(runtime, items[i], values[1], is_true(values[0]));
    const int order = compare(runtime, key, best_key, want_max ? ">" : "<");
    if (want_max ? order <= 0 : order >= 0) continue;
    best = items[i];
    best_key = std::move(key);
  }
  return best;
}

Value sum(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"attribute", "start"});
  Value total = values[1].is_undefined() ? Value(std::int64_t{0}) : values[1];
  for (const Value& item : runtime.iterate(self)) {
    const bool plain = values[0].is_undefined() || values[0].is_none();
    total = binary(runtime, "+", total, plain ? item : follow(runtime, item, values[0]));
  }
  return total;
}

Value join(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"d", "attribute"});
  const std::string separator = runtime.str(values[0]);
  std::string text;
  bool first = true;
  for (const Value& item : runtime.iterate(self)) {
    if (!first) runtime.append(text, separator);
    first = false;
    const bool plain = values[1].is_undefined() || values[1].is_none();
    append_str(runtime, text, plain ? item : follow(runtime, item, values[1]));
  }
  return runtime.text(std::move(text));
}

Value first(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  if (self.is_text() && !self.text().empty()) return get_item(runtime, self, Value(std::int64_t{0}));
  const std::vector<Value> all = runtime.iterate(self);
  return all.empty() ? runtime.undefined("there is no first item of an empty sequence") : all.front();
}

Value last(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  if (self.is_sequence() && self.sequence().type == Sequence::Type::kGenerator) raise("a generator has no last item");
  if (self.is_text() && !self.text().empty()) return get_item(runtime, self, Value(std::int64_t{-1}));
  const std::vector<Value> all = runtime.iterate(self);
  return all.empty() ? runtime.undefined("there is no last item of an empty sequence") : all.back();
}

Value list(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  return runtime.list(runtime.iterate(self));
}

Value reverse(Runtime& runtime, const Value& self, const Args& args) {
  bind(args, {});
  if (self.is_text()) return get_slice(runtime, self, Value(), Value(), Value(std::int64_t{-1}));
  std::vector<Value> all = runtime.iterate(self);
  std::reverse(all.begin(), all.end());
  return runtime.generator(std::move(all));
}

Value map(Runtime& runtime, const Value& self, const Args& args) {
  std::vector<Value> result;
  if (args.positional.empty()) {
    const auto values = bind(args, {"attribute", "default"});
    if (values[0].is_undefined()) raise("map() needs the name of a filter or attribute=");
    for (const Value& item : runtime.iterate(self)) result.push_back(follow(runtime, item, values[0], values[1]));
    return runtime.generator(std::move(result));
  }
  const std::string name = to_text(args.positional[0], "", "the filter of map");
  const NativeFn filter = find_filter(name);
  if (!filter) raise("there is no filter '{}'", name);
  const Args rest{
      .callee = name, .positional = {args.positional.begin() + 1, args.positional.end()}, .named = args.named};
  for (const Value& item : runtime.iterate(self)) {
    runtime.step();
    result.push_back(filter(runtime, item, rest));
  }
  return runtime.generator(std::move(result));
}

/// select and its kin: the items, or an attribute of theirs, that pass a test or, without one, are true.
template <bool wanted, bool by_attribute>
Value select(Runtime& runtime, const Value& self, const Args& args) {
  const std::size_t at = by_attribute;
  if (args.positional.size() < at) raise("{}() needs the name of an attribute", args.callee);
  std::string name;
  NativeFn test = nullptr;
  if (args.positional.size() > at) {
    name = to_text(args.positional[at], "", "the name of a test");
    test = find_test(name);
    if (!test) raise("there is no test '{}'", name);
  }
  Args rest{.callee = name, .positional = {}, .named = args.named};
  if (test)
    rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(at) + 1, args.positional.end());
  std::vector<Value> result;
  for (Value& item : runtime.iterate(self)) {
    runtime.step();
    const Value subject = by_attribute ? follow(runtime, item, args.positional[0]) : item;
    if (is_true(test ? test(runtime, subject, rest) : subject) == wanted) result.push_back(std::move(item));
  }
  return runtime.generator(std::move(result));
}

Value batch(Runtime& runtime, const Value& self, const Args& args) {
  const auto values = bind(args, {"linecount", "fill_with"}, 1);
  const std::int64_t size = to_integer(values[0], 0, "the argument of batch");
  if (size <= 0) raise("the argument of batch must be positive");
  std::vector<Value> result;
  std::vector<Value> line;
  for (const Value& item : runtime.iterate(self)) {
    line.push_back(item);
    if (static_cast<std::int64_t>(line.size()) == size) result.push_back(runtime.list(std::exchange(line, {})));
  }
  if (!line.empty()) {
    const bool fills = !values[1].is_undefined() && !values[1].is_none();
    while (fills && static_cast<std::int64_t>(line.size()) < size) {
      runtime.charge(sizeof(Value));
      line.push_back(values[1]);
    }
    result.push_back(runtime.list(std::move(line)));
  }
  return runtime.generator(std::move(result));
}

Value attribute(Runtime& runtime, const Value& self, const Args& args) {
  // As jinja2's: an attribute of the object, never an item.
  const std::string name = to_text(bind(args, {"name"}, 1)[0], "", "the name of an attribute");
  if (self.is_dict() && !find_method(self, name))
    return runtime.undefined(format("'dict object' has no attribute '{}'", name));
  return get_attribute(runtime, self, name);
}

constexpr Native kFilters[] = {
    {"attr", attribute},
    {"batch", batch},
    {"dictsort", dict_sort},
    {"first", first},
    {"items", items},
    {"join", join},
    {"last", last},
    {"list", list},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"reverse", reverse},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

std::span<const Native> sequence_filters() {
  return kFilters;
}

}  // namespace tandem::jinja
