/* Days and civil dates of the proleptic Gregorian calendar, both ways, without loops.
 *
 * Years start in March here, so that the leap day is the last of a year; an era is the 400
 * years (146097 days) after which the calendar repeats. Day 0 is 1970-01-01.
 */
#ifndef MONGOKEY_CIVIL_H
#define MONGOKEY_CIVIL_H

#include <stdint.h>

#define MK_DAYS_TO_EPOCH 719468 /* from 0000-03-01 to 1970-01-01 */
#define MK_MS_PER_DAY ((int64_t)86400000)

/* a / b rounded down, for b > 0. */
static inline int64_t mk_floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static inline int64_t mk_days_from_civil(int year, int month, int day) {
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - MK_DAYS_TO_EPOCH;
}

/* For days within years 1..9999, which callers see to. */
static inline void mk_civil_from_days(int32_t days, int *year, int *month, int *day) {
    uint32_t z = (uint32_t)(days + MK_DAYS_TO_EPOCH);
    uint32_t era = z / 146097;
    uint32_t day_of_era = z % 146097;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400) + (*month <= 2);
}

#endif
