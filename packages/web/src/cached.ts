/** A function whose answers are kept for a while; callers that come together share one computation. */
export function cached<Key extends string, Value>(
  seconds: number,
  load: (key: Key) => Promise<Value>,
): (key: Key) => Promise<Value> {
  const kept = new Map<Key, { readonly until: number; readonly value: Promise<Value> }>();
  return (key) => {
    const found = kept.get(key);
    if (found && found.until > performance.now()) return found.value;
    const value = load(key);
    const entry = { until: performance.now() + seconds * 1000, value };
    kept.set(key, entry);
    value.catch(() => kept.get(key) === entry && kept.delete(key));
    return value;
  };
}
