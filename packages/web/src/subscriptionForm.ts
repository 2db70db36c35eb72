/** The fields of the subscription form as `Subscriptions` takes them; it checks what they say. */
export function subscriptionFromForm(form: FormData): Record<string, unknown> {
  const text = (name: string) => {
    const value = form.get(name);
    return typeof value === "string" ? value : "";
  };
  /** Lines or commas separate entries. */
  const list = (name: string) =>
    text(name)
      .split(/[\n,]/)
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "");
  const number = (name: string) => (text(name) === "" ? undefined : Number(text(name)));
  return {
    email: text("email"),
    frequency: text("frequency") || undefined,
    weekday: number("weekday"),
    hour: number("hour"),
    timeZone: text("timeZone") || undefined,
    topics: list("topics"),
    families: form.getAll("families").filter((value) => typeof value === "string" && value !== ""),
    searches: text("searches")
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean),
  };
}
