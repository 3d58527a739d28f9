#include "tokenizer/jinja_value.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja_runtime.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

int sign_of(auto a, auto b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

/// Compares numbers exactly enough: long double holds every int64 on the machines we run on, or rounds it.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return sign_of(a.integer(), b.integer());
  const auto widen = [](const Value& v) {
    return v.is<double>() ? static_cast<long double>(v.as<double>()) : static_cast<long double>(v.integer());
  };
  return sign_of(widen(a), widen(b));
}

bool is_nan(const Value& value) {
  return value.is<double>() && std::isnan(value.as<double>());
}

bool same_sequence_type(const Sequence& a, const Sequence& b) {
  return a.type == b.type && a.type != Sequence::Type::kGenerator;
}

}  // namespace

int depth_of(const Value& value) {
  if (value.is_sequence()) return value.sequence().depth;
  if (value.is_dict()) return value.dict().depth;
  if (value.is<CallablePtr>()) return 1 + depth_of(value.as<CallablePtr>()->self);
  if (value.is<LoopPtr>()) return 1 + value.as<LoopPtr>()->items->depth;
  return 0;
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.is<bool>()) return "bool";
  if (value.is_integer()) return "int";
  if (value.is<double>()) return "float";
  if (value.is_text()) return "str";
  if (value.is_dict()) return "dict";
  if (value.is<Namespace*>()) return "Namespace";
  if (value.is<LoopPtr>()) return "LoopContext";
  if (value.is<CallablePtr>()) return value.as<CallablePtr>()->macro ? "Macro" : "function";
  switch (value.sequence().type) {
    case Sequence::Type::kList:
      return "list";
    case Sequence::Type::kTuple:
      return "tuple";
    case Sequence::Type::kRange:
      return "range";
    case Sequence::Type::kView:
      return "dict view";
    case Sequence::Type::kGenerator:
      return "generator";
  }
  return "?";
}

bool is_true(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_integer()) return value.integer() != 0;
  if (value.is<double>()) return value.as<double>() != 0;
  if (value.is_text()) return !value.text().empty();
  if (value.is_dict()) return !value.dict().items.empty();
  if (value.is_sequence()) {
    return value.sequence().type == Sequence::Type::kGenerator || !value.sequence().items.empty();
  }
  return true;
}

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.step();
  if (a.is_number() && b.is_number()) return !is_nan(a) && !is_nan(b) && compare_numbers(a, b) == 0;
  if (a.is_text() && b.is_text()) {
    runtime.step(std::min(a.text().size(), b.text().size()) / 64);
    return a.text() == b.text();
  }
  if (a.is_undefined() || a.is_none()) return a.is_undefined() == b.is_undefined() && a.is_none() == b.is_none();
  if (a.is_sequence() && b.is_sequence()) {
    if (a.as<SequencePtr>() == b.as<SequencePtr>()) return true;
    const auto& x = a.sequence().items;
    const auto& y = b.sequence().items;
    return same_sequence_type(a.sequence(), b.sequence()) && x.size() == y.size() &&
           std::equal(x.begin(), x.end(), y.begin(),
                      [&](const Value& p, const Value& q) { return equal(runtime, p, q); });
  }
  if (a.is_dict() && b.is_dict()) {
    const Dict& x = a.dict();
    const Dict& y = b.dict();
    return x.items.size() == y.items.size() && std::all_of(x.index.begin(), x.index.end(), [&](const auto& entry) {
             const auto other = y.index.find(entry.first);
             return other != y.index.end() &&
                    equal(runtime, x.items[entry.second].second, y.items[other->second].second);
           });
  }
  if (a.is<Namespace*>() && b.is<Namespace*>()) return a.as<Namespace*>() == b.as<Namespace*>();
  if (a.is<CallablePtr>() && b.is<CallablePtr>()) return a.as<CallablePtr>() == b.as<CallablePtr>();
  if (a.is<LoopPtr>() && b.is<LoopPtr>()) return a.as<LoopPtr>() == b.as<LoopPtr>();
  return false;
}

int compare(Runtime& runtime, const Value& a, const Value& b, std::string_view sign) {
  runtime.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.is_text() && b.is_text()) {
    runtime.step(std::min(a.text().size(), b.text().size()) / 64);
    return a.text().compare(b.text());
  }
  if (a.is_undefined()) raise_undefined(a);
  if (b.is_undefined()) raise_undefined(b);
  const auto has_order = [](const Value& v) {
    return v.is_sequence() &&
           (v.sequence().type == Sequence::Type::kList || v.sequence().type == Sequence::Type::kTuple);
  };
  if (has_order(a) && has_order(b) && a.sequence().type == b.sequence().type) {
    const auto& x = a.sequence().items;
    const auto& y = b.sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(runtime, x[i], y[i])) return compare(runtime, x[i], y[i], sign);
    }
    return sign_of(x.size(), y.size());
  }
  raise("'{}' not supported between instances of '{}' and '{}'", sign, type_name(a), type_name(b));
}

std::string hash_key(Runtime& runtime, const Value& value) {
  runtime.step();
  if (value.is_text()) {
    runtime.step(value.text().size() / 64);
    return "s" + value.text();
  }
  if (value.is_integer()) return format("n{}", value.integer());
  if (value.is<double>()) {
    const double x = value.as<double>();
    const bool is_whole = std::fabs(x) < 0x1p62 && x == std::trunc(x);
    return is_whole ? format("n{}", static_cast<std::int64_t>(x)) : "f" + float_repr(x);
  }
  if (value.is_none()) return "0";
  if (value.is_undefined()) return "u";
  if (value.is_sequence() && value.sequence().type == Sequence::Type::kTuple) {
    std::string key = "t";
    for (const Value& item : value.sequence().items) {
      const std::string part = hash_key(runtime, item);
      runtime.append(key, format("{}:", part.size()));
      runtime.append(key, part);
    }
    return key;
  }
  if (value.is_sequence() || value.is_dict()) raise("unhashable type: '{}'", type_name(value));
  const void* identity = value.is<Namespace*>()    ? static_cast<const void*>(value.as<Namespace*>())
                         : value.is<CallablePtr>() ? static_cast<const void*>(value.as<CallablePtr>().get())
                                                   : static_cast<const void*>(value.as<LoopPtr>().get());
  return format("p{}", identity);
}

void append_str(Runtime& runtime, std::string& out, const Value& value) {
  if (value.is_text()) {
    runtime.append(out, value.text());
  } else if (!value.is_undefined()) {
    append_repr(runtime, out, value);
  }
}

void append_repr(Runtime& runtime, std::string& out, const Value& value, int depth) {
  if (depth > 2 * Runtime::kMaxDepth) raise("the value is nested too deeply to be printed");  // through namespaces
  runtime.step();
  const auto put = [&](std::string_view text) { runtime.append(out, text); };
  const auto put_items = [&](std::string_view open, const auto& items, std::string_view close, auto put_item) {
    put(open);
    bool first = true;
    for (const auto& item : items) {
      if (!std::exchange(first, false)) put(", ");
      put_item(item);
    }
    put(close);
  };
  const auto put_value = [&](const Value& item) { append_repr(runtime, out, item, depth + 1); };
  if (value.is_undefined()) return put("Undefined");
  if (value.is_none()) return put("None");
  if (value.is<bool>()) return put(value.as<bool>() ? "True" : "False");
  if (value.is_integer()) return put(format("{}", value.integer()));
  if (value.is<double>()) return put(float_repr(value.as<double>()));
  if (value.is_text()) return put(text_repr(value.text()));
  if (value.is_dict()) {
    return put_items("{", value.dict().items, "}", [&](const auto& item) {
      put_value(item.first);
      put(": ");
      put_value(item.second);
    });
  }
  if (value.is<Namespace*>()) {
    return put_items("<Namespace {", value.as<Namespace*>()->attributes, "}>", [&](const auto& item) {
      put(text_repr(item.first));
      put(": ");
      put_value(item.second);
    });
  }
  if (value.is<LoopPtr>()) {
    const Loop& loop = *value.as<LoopPtr>();
    return put(format("<LoopContext {}/{}>", loop.index0 + 1, loop.items->items.size()));
  }
  if (value.is<CallablePtr>()) return put(format("<{} '{}'>", type_name(value), value.as<CallablePtr>()->name));
  const Sequence& sequence = value.sequence();
  switch (sequence.type) {
    case Sequence::Type::kList:
      return put_items("[", sequence.items, "]", put_value);
    case Sequence::Type::kTuple:
      return put_items("(", sequence.items, sequence.items.size() == 1 ? ",)" : ")", put_value);
    case Sequence::Type::kView:
      put(sequence.label);
      return put_items("([", sequence.items, "])", put_value);
    case Sequence::Type::kRange:
    case Sequence::Type::kGenerator:
      return put(sequence.label);
  }
}

const Value* find(Runtime& runtime, const Dict& dict, const Value& key) {
  const auto at = dict.index.find(hash_key(runtime, key));
  return at == dict.index.end() ? nullptr : &dict.items[at->second].second;
}

const Value* find(const Dict& dict, std::string_view key) {
  std::string hash = "s";
  hash += key;
  const auto at = dict.index.find(hash);
  return at == dict.index.end() ? nullptr : &dict.items[at->second].second;
}

}  // namespace tandem::jinja
