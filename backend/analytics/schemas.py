"""What the published marts say."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from backend.listing import MartParameters
from backend.parameters import Id, Parameters, Text
from backend.patients.schemas import AgeGroup, Sex
from backend.schema import Schema

SUPPRESSED = "; for a viewer rounded to 5, and null where it is 1 to 7"
HIDDEN = "; for a viewer null where it would tell of few"


class FacilityCounts(Schema):
    """One facility in numbers."""

    facility_id: int = Field(description="id of the facility", examples=[1])
    facility_name: str = Field(description="name", examples=["Ikeja General Hospital"])
    state: str = Field(description="state, upper-case", examples=["LAGOS"])
    patient_count: int | None = Field(description=f"patients registered there{SUPPRESSED}", examples=[120])
    record_count: int | None = Field(description=f"medical records made there{SUPPRESSED}", examples=[310])
    avg_triage_level: float | None = Field(
        description="mean triage level of its visits, 1 (resuscitation) to 5 (non-urgent); null without visits",
        examples=[3.4],
    )


class FacilityStats(Schema):
    """All facilities, or the one asked for, in numbers; the totals are of the facilities listed."""

    total_facilities: int = Field(description="facilities listed", examples=[1])
    total_patients: int = Field(description="their patients", examples=[120])
    total_records: int = Field(description="their medical records", examples=[310])
    as_of: datetime = Field(
        description="when the marts were published, UTC", examples=["2026-01-31T02:01:40.100000+00:00"]
    )
    facilities: list[FacilityCounts] = Field(description="one by one, ordered by facility_id")


class Published(Schema):
    """Rows of a mart, and how old they are."""

    as_of: datetime = Field(
        description="when the marts were published, UTC", examples=["2026-01-31T02:01:40.100000+00:00"]
    )


class FacilityPerformance(Schema):
    """One facility in its last 12 months."""

    facility_id: int = Field(description="the facility", examples=[1])
    facility_name: str = Field(description="name of the facility", examples=["Ikeja General Hospital"])
    state: str = Field(description="state, upper case", examples=["LAGOS"])
    facility_category: str = Field(
        description="level of care, Primary, Secondary, Tertiary, Other or Unknown", examples=["Secondary"]
    )
    volume_category: str = Field(description="High, Medium, Low or None", examples=["High"])
    acuity_category: str | None = Field(
        description=f"High, Medium, Low, or Unknown without visits{HIDDEN}", examples=["Medium"]
    )
    performance_indicator: str | None = Field(
        description=f"Good, Fair, Poor, or Unknown without visits{HIDDEN}", examples=["Good"]
    )
    patient_count: int | None = Field(
        description=f"number of different patients seen, wherever they are registered{SUPPRESSED}", examples=[12]
    )
    record_count: int | None = Field(description=f"number of medical record entries{SUPPRESSED}", examples=[12])
    visit_count: int | None = Field(description=f"number of triage visits{SUPPRESSED}", examples=[12])
    urgent_visit_count: int | None = Field(description=f"number of visits of level 1 or 2{SUPPRESSED}", examples=[12])
    avg_triage_level: float | None = Field(
        description=f"mean triage level, 1.00 (most urgent) to 5.00; null without visits{HIDDEN}", examples=[3.4]
    )
    urgent_visit_pct: float | None = Field(
        description=f"share of urgent visits, percent; null without visits{HIDDEN}", examples=[12.5]
    )
    monthly_visit_average: float | None = Field(
        description=f"visits per month observed; zero where nothing ever happened{HIDDEN}", examples=[4.25]
    )
    monthly_record_average: float | None = Field(
        description=f"medical record entries per month observed; zero where nothing ever happened{HIDDEN}",
        examples=[4.25],
    )
    vitals_recorded_pct: float | None = Field(
        description=f"share of visits with all five vital signs, percent; null without visits{HIDDEN}", examples=[12.5]
    )
    conditions_recorded_pct: float | None = Field(
        description=f"share of visits with a condition, percent; null without visits{HIDDEN}", examples=[12.5]
    )
    recommendations_recorded_pct: float | None = Field(
        description=f"share of visits with a recommendation, percent; null without visits{HIDDEN}", examples=[12.5]
    )
    performance_score: float | None = Field(
        description=f"mean of the three shares, 0.00 to 100.00; null without visits{HIDDEN}", examples=[4.25]
    )
    is_active: bool = Field(
        description="whether a record or visit lies no more than 90 days before the run date (rule in dim_facilities)",
        examples=[True],
    )
    first_activity_on: date | None = Field(
        description=f"day of the first record or visit ever; null without any{HIDDEN}", examples=["2026-01-30"]
    )


class PatientSummary(Schema):
    """One patient in their last 12 months."""

    patient_id: int = Field(description="the patient", examples=[1])
    facility_id: int = Field(description="the facility that registered the patient", examples=[1])
    facility_name: str = Field(description="name of that facility", examples=["Ikeja General Hospital"])
    state: str = Field(description="state of that facility, upper case", examples=["LAGOS"])
    sex: str = Field(description="M, F, Other or Unknown", examples=["F"])
    age_group: str = Field(description="age group at the run date", examples=["Adult"])
    risk_assessment: str = Field(
        description="High, Medium, Low, or Unknown without any record or visit", examples=["Low"]
    )
    engagement_level: str = Field(description="High, Medium, Low or None", examples=["Medium"])
    diagnoses: list[str] = Field(
        description="different diagnoses of the medical records of the 12 months, sorted", examples=[["Malaria"]]
    )
    conditions: list[str] = Field(
        description="different conditions noted in the visits of the 12 months, sorted", examples=[["Hypertension"]]
    )
    record_count: int = Field(description="number of medical record entries of the 12 months", examples=[12])
    visit_count: int = Field(description="number of triage visits of the 12 months", examples=[12])
    urgent_visit_count: int = Field(description="number of those of level 1 or 2", examples=[12])
    illness_count: int = Field(
        description="number of illnesses, diagnoses and conditions taken together",
        examples=[12],
    )
    worst_triage_level: int | None = Field(
        description="most urgent triage level of the 12 months, 1 to 5; null without visits", examples=[2]
    )
    avg_triage_level: float | None = Field(
        description="mean triage level of the 12 months, 1.00 (most urgent) to 5.00; null without visits",
        examples=[3.4],
    )
    risk_points: int = Field(description="points behind risk_assessment, 0 to 6", examples=[2])
    engagement_score: int = Field(description="engagement in points, 0 to 100", examples=[40])
    last_activity_at: datetime | None = Field(
        description="when the latest record or visit took place, also before the 12 months; null without any",
        examples=["2026-01-30T09:15:00+00:00"],
    )


class TriageTrend(Schema):
    """One facility on one day."""

    facility_id: int = Field(description="the facility visited", examples=[1])
    facility_name: str = Field(description="name of the facility", examples=["Ikeja General Hospital"])
    state: str = Field(description="state of the facility, upper case", examples=["LAGOS"])
    visit_count: int | None = Field(description=f"number of visits on the day{SUPPRESSED}", examples=[12])
    critical_count: int | None = Field(
        description=f"number of visits of priority Critical (level 1){SUPPRESSED}", examples=[12]
    )
    high_count: int | None = Field(
        description=f"number of visits of priority High (level 2){SUPPRESSED}", examples=[12]
    )
    medium_count: int | None = Field(
        description=f"number of visits of priority Medium (level 3){SUPPRESSED}", examples=[12]
    )
    low_count: int | None = Field(
        description=f"number of visits of priority Low (levels 4 and 5){SUPPRESSED}", examples=[12]
    )
    avg_triage_level: float | None = Field(
        description=f"mean triage level, 1.00 (most urgent) to 5.00; null on days without visits{HIDDEN}",
        examples=[3.4],
    )
    visit_count_7_day_average: float | None = Field(
        description=f"mean visits per day over the seven days that end on this one; null for the first six{HIDDEN}",
        examples=[4.25],
    )
    week_over_week_growth_pct: float | None = Field(
        description=f"change of these seven days' visits on the seven before, percent; null without any before{HIDDEN}",
        examples=[12.5],
    )
    visited_on: date = Field(description="the day, in the facility's local time", examples=["2026-01-30"])


class ConditionFrequency(Schema):
    """One condition in one state, age group and sex."""

    condition: str = Field(description="the condition, in the words of the source", examples=["Hypertension"])
    state: str = Field(description="state of the facilities visited, upper case", examples=["LAGOS"])
    age_group: str = Field(description="age group of the patients at the visit", examples=["Adult"])
    sex: str = Field(description="sex of the patients", examples=["F"])
    patient_count: int | None = Field(description=f"number of different patients{SUPPRESSED}", examples=[12])
    visit_count: int | None = Field(
        description=f"number of visits in which the condition was noted{SUPPRESSED}", examples=[12]
    )
    urgent_visit_count: int | None = Field(description=f"number of those of level 1 or 2{SUPPRESSED}", examples=[12])
    frequency_rank: int = Field(description="rank by visit_count, 1 the most frequent", examples=[12])
    severity_rank: int = Field(description="rank by avg_triage_level as shown, 1 the most urgent", examples=[12])
    avg_triage_level: float | None = Field(
        description=f"mean triage level of those visits, 1.00 (most urgent) to 5.00{HIDDEN}", examples=[3.4]
    )
    visit_share_pct: float | None = Field(
        description=f"share of all visits of the same state, age group and sex, percent{HIDDEN}", examples=[12.5]
    )


class BedOccupancy(Schema):
    """One NHS organisation in one quarter: beds open overnight, all sectors."""

    bed_occupancy_id: int = Field(description="id of the row in fct_bed_occupancy", examples=[12])
    organisation_code: str = Field(description="code of the organisation (ODS)", examples=["RJ1"])
    organisation_name: str = Field(
        description="name of the organisation, as it stood in this quarter's return",
        examples=["GUY'S AND ST THOMAS' NHS FOUNDATION TRUST"],
    )
    region_code: str | None = Field(
        description="region in this quarter; in older returns an area team or health authority", examples=["Y56"]
    )
    quarter: str = Field(
        description="Quarter of the NHS year, Q1 (April to June) to Q4 (January to March)", examples=["Q3"]
    )
    nhs_year_name: str = Field(description="NHS year as it is written, 2019-20", examples=["2019-20"])
    pressure: str = Field(
        description="Below 85 %, 85 % to 92 %, 92 % and above, Above 100 %, No beds (none were available) or Not given",
        examples=["85 % to 92 %"],
    )
    review_reason: str | None = Field(
        description="why somebody should look at the figures; null where nobody need",
        examples=["occupancy above 100 %"],
    )
    year: int = Field(description="calendar year in which the NHS year starts", examples=[2019])
    quarter_index: int = Field(description="Quarters counted through; the quarter before is one less", examples=[8078])
    beds_available: float | None = Field(
        description="beds available overnight, average per day of the quarter; null where not given",
        examples=[1193.913],
    )
    beds_occupied: float | None = Field(
        description="beds occupied overnight, average per day of the quarter; null where not given",
        examples=[1080.25],
    )
    occupancy_rate: float | None = Field(
        description="occupied by available beds, 0 to 1, seldom above; null where none were available",
        examples=[0.9048],
    )
    occupancy_rate_4_quarter_average: float | None = Field(
        description="mean of the rates of this quarter and the three before it; null unless all four are known",
        examples=[4.25],
    )
    occupancy_rate_change_on_quarter: float | None = Field(
        description="change of the rate on the quarter before (0.01 is one point); null where either is not known",
        examples=[4.25],
    )
    occupancy_rate_change_on_year: float | None = Field(
        description="change of the rate on the same quarter of the year before; null where either is not known",
        examples=[4.25],
    )
    rank_in_region: int | None = Field(
        description="rank by rate within the region and quarter, 1 the fullest; null without rate or region",
        examples=[12],
    )
    ranked_in_region_count: int | None = Field(
        description="number of organisations ranked with it; null without region", examples=[12]
    )
    quarters_at_92_pct_count: int = Field(
        description="how many of this quarter and the three before it were at 92 % or above, as far as they are known",
        examples=[12],
    )
    is_at_85_pct: bool = Field(description="whether the rate is 85 % or above; false without a rate", examples=[True])
    is_at_92_pct: bool = Field(description="whether the rate is 92 % or above; false without a rate", examples=[True])
    is_above_100_pct: bool = Field(description="whether more beds were occupied than available", examples=[True])
    is_unusual_change: bool = Field(
        description="whether the rate changed by 5 points or more, far beyond the organisation's earlier changes",
        examples=[True],
    )
    quarter_start_on: date = Field(description="first day of the quarter", examples=["2026-01-30"])
    quarter_end_on: date = Field(description="last day of the quarter", examples=["2026-01-30"])


class Release(Published):
    """The marts that are live."""


class DailyVisits(Schema):
    """All facilities asked for on one day."""

    visited_on: date = Field(description="the day, in the facilities' local time", examples=["2026-01-30"])
    visit_count: int | None = Field(description=f"number of visits on the day{SUPPRESSED}", examples=[120])
    critical_count: int | None = Field(description=f"those of priority Critical (level 1){SUPPRESSED}", examples=[10])
    high_count: int | None = Field(description=f"those of priority High (level 2){SUPPRESSED}", examples=[25])
    medium_count: int | None = Field(description=f"those of priority Medium (level 3){SUPPRESSED}", examples=[45])
    low_count: int | None = Field(description=f"those of priority Low (levels 4 and 5){SUPPRESSED}", examples=[40])
    visit_count_7_day_average: float | None = Field(
        description="mean of visit_count as shown over the seven days that end on this one; null unless all are known",
        examples=[118.57],
    )


class ConditionTotal(Schema):
    """One condition over all states, age groups and sexes asked for."""

    condition: str = Field(description="the condition, in the words of the source", examples=["Hypertension"])
    visit_count: int | None = Field(description=f"number of visits in which it was noted{SUPPRESSED}", examples=[120])
    urgent_visit_count: int | None = Field(description=f"those of level 1 or 2{SUPPRESSED}", examples=[30])
    urgent_visit_pct: float | None = Field(description=f"their share, percent{HIDDEN}", examples=[25.0])
    avg_triage_level: float | None = Field(
        description=f"mean triage level of those visits, 1.00 (most urgent) to 5.00{HIDDEN}", examples=[3.4]
    )


class StateTotal(Schema):
    """The facilities of one state together."""

    state: str = Field(description="state, upper case", examples=["LAGOS"])
    facility_count: int = Field(description="number of facilities", examples=[12])
    patient_count: int | None = Field(description=f"patients registered there{SUPPRESSED}", examples=[120])
    record_count: int | None = Field(description=f"medical records made there{SUPPRESSED}", examples=[310])
    visit_count: int | None = Field(description=f"triage visits there{SUPPRESSED}", examples=[240])


class PlacedFacility(Schema):
    """One facility on the map."""

    facility_id: int = Field(description="the facility", examples=[1])
    facility_name: str = Field(description="name of the facility", examples=["Ikeja General Hospital"])
    state: str | None = Field(description="state of the facility, upper case", examples=["LAGOS"])
    facility_category: str = Field(
        description="level of care, Primary, Secondary, Tertiary, Other or Unknown", examples=["Secondary"]
    )
    latitude: float = Field(description="degrees north", examples=[6.6018])
    longitude: float = Field(description="degrees east", examples=[3.3515])
    patient_count: int | None = Field(description=f"patients registered there{SUPPRESSED}", examples=[120])
    visit_count: int | None = Field(description=f"triage visits there{SUPPRESSED}", examples=[240])


class RegionalOccupancy(Schema):
    """The organisations of one region in one quarter together: beds open overnight, all sectors."""

    region_code: str = Field(
        description="region in this quarter; in older returns an area team or health authority", examples=["Y56"]
    )
    quarter: str = Field(description="quarter of the NHS year, Q1 (April to June) to Q4", examples=["Q3"])
    year: int = Field(description="calendar year in which the NHS year starts", examples=[2019])
    quarter_start_on: date = Field(description="first day of the quarter", examples=["2019-10-01"])
    organisation_count: int = Field(description="organisations with a return", examples=[31])
    beds_available: float | None = Field(description="beds available, average per day", examples=[19021.4])
    beds_occupied: float | None = Field(description="beds occupied, average per day", examples=[17034.9])
    occupancy_rate: float | None = Field(
        description="occupied by available beds, percent; null without beds", examples=[89.56]
    )


class RegionalOccupancies(Published):
    """Regions quarter by quarter."""

    rows: list[RegionalOccupancy] = Field(description="by quarter and region")


class VisitsByDay(Published):
    """Visits day by day, the oldest first."""

    rows: list[DailyVisits] = Field(description="one per day")


class TopConditions(Published):
    """The most frequent conditions."""

    rows: list[ConditionTotal] = Field(description="the most frequent first")


class States(Published):
    """The states with facilities."""

    rows: list[StateTotal] = Field(description="by name")


class FacilityMap(Published):
    """Where the busiest facilities are."""

    facility_count: int = Field(description="facilities asked for", examples=[50])
    placed_facility_count: int = Field(description="those whose coordinates are known", examples=[48])
    rows: list[PlacedFacility] = Field(description="the busiest of those, ordered by facility_id")


class FacilityPerformances(Published):
    """Facilities in their last 12 months, by facility_id."""

    rows: list[FacilityPerformance] = Field(description="one page of them")


class PatientSummaries(Published):
    """Patients in their last 12 months, by patient_id."""

    rows: list[PatientSummary] = Field(description="one page of them")


class TriageTrends(Published):
    """Facilities day by day, by facility_id and day."""

    rows: list[TriageTrend] = Field(description="one page of them")


class ConditionAnalysis(Published):
    """Conditions, by condition, state, age group and sex."""

    rows: list[ConditionFrequency] = Field(description="one page of them")


class BedOccupancies(Published):
    """NHS organisations quarter by quarter, by bed_occupancy_id."""

    rows: list[BedOccupancy] = Field(description="one page of them")


class Quarter(StrEnum):
    """A quarter of the NHS year, which starts in April."""

    Q1 = "Q1"
    Q2 = "Q2"
    Q3 = "Q3"
    Q4 = "Q4"


class FacilityStatsParameters(Parameters):
    """Which facilities."""

    facility_id: Id | None = Field(None, description="only the facility with this id", examples=[1])


class FacilityPerformanceParameters(MartParameters):
    """Which facilities, and which page of them."""

    facility_id: Id | None = Field(None, description="only the facility with this id", examples=[1])
    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])


class PatientSummaryParameters(MartParameters):
    """Which patients, and which page of them."""

    patient_id: Id | None = Field(None, description="only the patient with this id", examples=[1])
    facility_id: Id | None = Field(None, description="registered at the facility with this id", examples=[1])
    sex: Sex | None = Field(None, description="sex", examples=[Sex.F])
    age_group: AgeGroup | None = Field(None, description="age group at the run date", examples=[AgeGroup.ADULT])
    risk_assessment: Text | None = Field(None, description="High, Medium, Low or Unknown", examples=["High"])


class TriageTrendParameters(MartParameters):
    """Which facilities and days, and which page of them."""

    facility_id: Id | None = Field(None, description="only the facility with this id", examples=[1])
    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    from_day: date | None = Field(None, alias="from", description="first day", examples=["2026-01-01"])
    to_day: date | None = Field(None, alias="to", description="last day, included", examples=["2026-01-31"])


class ConditionParameters(MartParameters):
    """Which conditions, and which page of them."""

    condition: Text | None = Field(None, description="condition, spelled as in the mart", examples=["Hypertension"])
    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    age_group: Text | None = Field(None, description="age group at the visit", examples=["Adult"])
    sex: Sex | None = Field(None, description="sex", examples=[Sex.F])


class DailyVisitParameters(Parameters):
    """Which facilities, and how far back."""

    facility_id: Id | None = Field(None, description="only the facility with this id", examples=[1])
    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    days: Annotated[int, Field(ge=1, le=1100)] = Field(92, description="how many of the newest days", examples=[92])


class ConditionTotalParameters(Parameters):
    """Whose conditions, and how many of them."""

    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    age_group: Text | None = Field(None, description="age group at the visit", examples=["Adult"])
    sex: Sex | None = Field(None, description="sex", examples=[Sex.F])
    limit: Annotated[int, Field(ge=1, le=100)] = Field(15, description="conditions at most", examples=[15])


class FacilityMapParameters(Parameters):
    """Which facilities, and how many of them."""

    state: Text | None = Field(None, description="state, in any case", examples=["Lagos"])
    limit: Annotated[int, Field(ge=1, le=2000)] = Field(1000, description="facilities at most", examples=[1000])


class BedOccupancyParameters(MartParameters):
    """Which organisations and quarters, and which page of them."""

    organisation_code: Text | None = Field(None, description="code of the organisation (ODS)", examples=["RJ1"])
    region_code: Text | None = Field(None, description="region in the quarter", examples=["Y56"])
    year: Annotated[int, Field(ge=1900, le=2200)] | None = Field(
        None, description="calendar year in which the NHS year starts", examples=[2019]
    )
    quarter: Quarter | None = Field(None, description="quarter of the NHS year", examples=[Quarter.Q3])
    pressure: Text | None = Field(None, description="band of the occupancy rate", examples=["Above 100 %"])
