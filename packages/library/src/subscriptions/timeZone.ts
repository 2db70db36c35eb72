/** A moment on a subscriber's wall clock. */
export interface LocalTime {
  /** `YYYY-MM-DD`. */
  readonly day: string;
  readonly hour: number;
  /** ISO weekday, 1 Monday to 7 Sunday. */
  readonly weekday: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();
const MOST_FORMATS = 1000;

/** @throws RangeError when the zone does not exist */
function formatFor(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-CA", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
    });
    if (formats.size >= MOST_FORMATS) formats.clear();
    formats.set(timeZone, format);
  }
  return format;
}

export function isTimeZone(name: string): boolean {
  try {
    formatFor(name);
    return true;
  } catch {
    return false;
  }
}

/**
 * The wall clock in a time zone. Reading the clock, instead of adding offsets, is right on the days on which it is
 * put forward or back.
 */
export function localTime(moment: Date, timeZone: string): LocalTime {
  const parts = Object.fromEntries(
    formatFor(timeZone)
      .formatToParts(moment)
      .map(({ type, value }) => [type, value]),
  );
  const day = `${parts.year}-${parts.month}-${parts.day}`;
  const sundayIsZero = new Date(`${day}T00:00:00Z`).getUTCDay();
  return { day, hour: Number(parts.hour), weekday: sundayIsZero === 0 ? 7 : sundayIsZero };
}
