"""Invented drops in the layouts of the four Medilink feeds: realistic in shape, and about nobody.

States, local government areas and their coordinates are real. Names are drawn at random from short lists, phones from
the block of Starcomms (0819), an operator that closed: they look valid and reach nobody.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")

DAYS = 90

REFERENCES = (
    "facility_name",
    "facility_state",
    "facility_lga",
    "patient_first_name",
    "patient_last_name",
    "patient_dob",
)

# Header of each feed's file: the original columns and the optional extensions, in the order of the contract.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "facilities": ("name", "state", "lga", "lat", "lon", "type"),
    "patients": (*REFERENCES[:3], "first_name", "last_name", "sex", "dob", "phone"),
    "medical_records": (
        *REFERENCES,
        "record_type",
        "diagnosis",
        "treatment",
        "medications",
        "notes",
        "record_id",
        "recorded_at",
    ),
    "triage_visits": (
        *REFERENCES,
        "triage_level",
        "chief_complaint",
        "vital_signs",
        "conditions",
        "recommendations",
        "visit_id",
        "visited_at",
    ),
}


class Names(NamedTuple):
    """First names by sex, and surnames, that are common together."""

    female: tuple[str, ...]
    male: tuple[str, ...]
    surnames: tuple[str, ...]


def _names(female: str, male: str, surnames: str) -> Names:
    return Names(tuple(female.split()), tuple(male.split()), tuple(surnames.split()))


YORUBA = _names(
    "Abíọ́dún Adéọlá Àdùnní Bọ́láńlé Dámilọ́lá Ẹniọlá Fúnmiláyọ̀ Grace Ìbùkún Kẹ́mi Mary Mojísọ́lá Ọlábísí Ọmọlará Ṣadé "
    "Simisọ́lá Temítọ́pẹ́ Títílayọ̀ Wúràọlá Yétúndé",
    "Adébáyọ̀ Akínwálé Ayọ̀délé Babátúndé Bánkọ́lé Daniel Dáre Fẹ́mi Gbénga Ìdòwú Káyọ̀dé Kúnlé Ọláolúwa Oyèdélé Samuel "
    "Ṣẹ́gun Ṣọlá Táíwò Túndé Wálé",
    "Adébísí Adégòkè Adéyẹmí Àjàyí Akíntáyọ̀ Akínyẹmí Àlàbí Arówólò Ayọ̀ọlá Babalọlá Balógun Bámidélé Dáramọ́lá Fádípẹ̀ "
    "Ìṣọ̀lá Kọ́láwọlé Ládípọ̀ Odùnsì Ọláoyè Ọlátúnjí Olúwọlé Ọṣinúbi Ṣónúbi Ṣówándé",
)
IGBO = _names(
    "Adaeze Amarachi Chiamaka Chidịnma Chinyere Ebere Grace Ifeọma Ijeọma Kelechi Kosisọchukwu Ngọzi Nkechi Nneka "
    "Nwakaego Obiageli Ọgechi Ọlụchi Uchenna Uloma",
    "Arinze Chibụzọ Chidi Chijioke Chukwuemeka Ebuka Emeka Emmanuel Ifeanyị Ikechukwu Izuchukwu Kenechukwu Nnamdị "
    "Obinna Ọkechukwu Onyekachi Peter Somtochukwu Ugochukwu Uzọma",
    "Agụ Anyanwụ Azụbụike Chukwu Egwu Eneh Eze Ezeani Ibe Iheme Ikegwuonu Maduka Mba Nwafọr Nwankwọ Nwosu Odo Ọkafọr "
    "Ọkeke Ọkorie Ọnụoha Ọnwuka Udeh Ugwu",
)
HAUSA = _names(
    "Aisha Asma'u Bilkisu Fatima Hadiza Halima Hauwa Jamila Khadija Ladidi Laraba Maryam Nafisa Rabi Rakiya Sa'adatu "
    "Safiya Talatu Zainab Zulai",
    "Abdullahi Abubakar Aliyu Audu Bashir Bello Ɗanjuma Garba Habibu Hamza Idris Inuwa Isa Lawal Mansur Musa Nasiru "
    "Sani Umar Yusuf",
    "Abdulmalik Adamu Ahmad Baƙo Bawa Ɗanbaba Ɗanladi Ɗanlami Gambo Haruna Hassan Ibrahim Jibrin Ladan Magaji Maigari "
    "Mainasara Mohammed Rabiu Salisu Suleiman Tanko Usman Yakubu",
)
MIDDLE_BELT = _names(
    "Comfort Dinah Doose Dooshima Hembafan Kaneng Kashimana Mimidoo Nguher Nguvan Ochanya Ohunene Rahila Rifkatu Ruth "
    "Saratu Torkwase Wandoo Yinma Zipporah",
    "Aondona Ayuba Bitrus Bulus Dachung Davou Gyang Iorwuese Ishaya Luka Ochigbo Pam Sesugh Sunday Terhemen Terkaa "
    "Tersoo Yakubu Yohanna Zakka",
    "Abah Adagba Agbo Akaahan Akor Ameh Atsen Audu Chollom Dalyop Ejeh Gbaa Igoh Iorliam Jatau Kwande Kyenge Mancha "
    "Ochai Ogah Pwajok Tyav Uga Zang",
)
SOUTH_SOUTH = _names(
    "Blessing Ebiere Efe Ekaette Enọ Eseosa Esther Faith Idara Imaobong Isoken Itohan Joy Mercy Ọmọyẹ Osarugue "
    "Patience Rukevwe Uduak Yẹmisi",
    "Aniekan Edidiong Efosa Ejiro Ese Godwin Idongesit Iniobong Kome Mfon Nosa Ochuko Oghenekaro Osagie Oseghale "
    "Preye Tamuno Tari Ubong Victor",
    "Aghedo Akpan Akpobome Asuquo Bassey Ẹhigiator Ekong Ekpo Enang Etim Eyo Igbinovia Inyang Iyamu Odiase Ogbeide "
    "Ọkpara Okon Omoregie Osayande Otobo Udoh Umoren Zibokere",
)
PEOPLES = (YORUBA, IGBO, HAUSA, MIDDLE_BELT, SOUTH_SOUTH)

# The 36 states and the FCT: most common names, and some local government areas with their rough centres (WGS 84).
STATES: dict[str, tuple[Names, tuple[tuple[str, float, float], ...]]] = {
    "Abia": (IGBO, (("Aba North", 5.11, 7.38), ("Umuahia North", 5.53, 7.49), ("Arochukwu", 5.46, 7.88))),
    "Adamawa": (HAUSA, (("Yola North", 9.28, 12.46), ("Mubi North", 10.27, 13.27), ("Numan", 9.46, 12.03))),
    "Akwa Ibom": (SOUTH_SOUTH, (("Uyo", 5.03, 7.92), ("Eket", 4.65, 7.95), ("Etinan", 4.80, 7.83))),
    "Anambra": (IGBO, (("Awka South", 6.19, 7.07), ("Onitsha North", 6.15, 6.79), ("Nnewi North", 6.02, 6.91))),
    "Bauchi": (HAUSA, (("Bauchi", 10.28, 9.85), ("Ningi", 11.02, 9.31), ("Misau", 11.39, 10.50))),
    "Bayelsa": (SOUTH_SOUTH, (("Yenagoa", 4.93, 6.27), ("Ogbia", 4.69, 6.32), ("Sagbama", 5.15, 6.20))),
    "Benue": (MIDDLE_BELT, (("Makurdi", 7.73, 8.53), ("Gboko", 7.34, 8.96), ("Oturkpo", 7.36, 8.03))),
    "Borno": (HAUSA, (("Maiduguri", 11.84, 13.15), ("Biu", 10.61, 12.19), ("Bama", 11.52, 13.69))),
    "Cross River": (SOUTH_SOUTH, (("Calabar Municipality", 4.96, 8.33), ("Ogoja", 6.54, 8.71), ("Boki", 6.38, 8.92))),
    "Delta": (SOUTH_SOUTH, (("Warri South", 5.52, 5.75), ("Oshimili South", 6.20, 6.73), ("Sapele", 5.89, 5.69))),
    "Ebonyi": (IGBO, (("Abakaliki", 6.32, 8.11), ("Afikpo North", 5.88, 7.93), ("Ohaukwu", 6.52, 7.99))),
    "Edo": (SOUTH_SOUTH, (("Oredo", 6.33, 5.62), ("Egor", 6.37, 5.58), ("Esan West", 6.74, 6.13))),
    "Ekiti": (YORUBA, (("Ado-Ekiti", 7.61, 5.23), ("Ijero", 7.82, 5.07), ("Ido-Osi", 7.85, 5.17))),
    "Enugu": (IGBO, (("Enugu North", 6.45, 7.50), ("Nsukka", 6.86, 7.39), ("Udi", 6.32, 7.42))),
    "Federal Capital Territory": (HAUSA, (("Gwagwalada", 8.94, 7.08), ("Kuje", 8.88, 7.23), ("Bwari", 9.23, 7.40))),
    "Gombe": (HAUSA, (("Gombe", 10.29, 11.17), ("Kaltungo", 9.82, 11.31), ("Dukku", 10.82, 10.77))),
    "Imo": (IGBO, (("Owerri North", 5.42, 7.08), ("Okigwe", 5.81, 7.33), ("Mbaitoli", 5.58, 7.03))),
    "Jigawa": (HAUSA, (("Dutse", 11.76, 9.34), ("Hadejia", 12.45, 10.04), ("Gumel", 12.63, 9.39))),
    "Kaduna": (HAUSA, (("Kaduna North", 10.53, 7.44), ("Zaria", 11.07, 7.70), ("Kachia", 9.87, 7.95))),
    "Kano": (HAUSA, (("Ungogo", 12.08, 8.50), ("Bichi", 12.24, 8.25), ("Dawakin Tofa", 12.13, 8.37))),
    "Katsina": (HAUSA, (("Kankara", 11.93, 7.42), ("Musawa", 12.11, 7.76), ("Bakori", 11.60, 7.42))),
    "Kebbi": (HAUSA, (("Birnin Kebbi", 12.45, 4.20), ("Argungu", 12.75, 4.53), ("Yauri", 10.78, 4.77))),
    "Kogi": (MIDDLE_BELT, (("Lokoja", 7.80, 6.74), ("Dekina", 7.58, 7.14), ("Ankpa", 7.44, 7.65))),
    "Kwara": (YORUBA, (("Ilorin West", 8.49, 4.54), ("Offa", 8.15, 4.72), ("Pategi", 8.73, 5.76))),
    "Lagos": (YORUBA, (("Ikeja", 6.62, 3.34), ("Eti-Osa", 6.45, 3.54), ("Ikorodu", 6.62, 3.52))),
    "Nasarawa": (MIDDLE_BELT, (("Lafia", 8.49, 8.52), ("Keffi", 8.85, 7.87), ("Akwanga", 8.91, 8.41))),
    "Niger": (HAUSA, (("Chanchaga", 9.61, 6.55), ("Mokwa", 9.21, 5.22), ("Lapai", 8.59, 6.63))),
    "Ogun": (YORUBA, (("Abeokuta South", 7.15, 3.35), ("Ijebu-Ode", 6.82, 3.92), ("Ifo", 6.82, 3.20))),
    "Ondo": (YORUBA, (("Akure South", 7.24, 5.19), ("Ondo West", 7.07, 4.72), ("Idanre", 7.06, 5.14))),
    "Osun": (YORUBA, (("Osogbo", 7.77, 4.56), ("Iwo", 7.63, 4.18), ("Ede North", 7.74, 4.44))),
    "Oyo": (YORUBA, (("Ibadan North", 7.40, 3.92), ("Ogbomosho North", 8.13, 4.24), ("Akinyele", 7.59, 3.90))),
    "Plateau": (MIDDLE_BELT, (("Jos North", 9.92, 8.89), ("Pankshin", 9.33, 9.44), ("Shendam", 8.88, 9.53))),
    "Rivers": (SOUTH_SOUTH, (("Port Harcourt", 4.78, 7.01), ("Obio/Akpor", 4.84, 7.00), ("Khana", 4.67, 7.42))),
    "Sokoto": (HAUSA, (("Sokoto North", 13.07, 5.24), ("Wurno", 13.29, 5.42), ("Tambawal", 12.40, 4.65))),
    "Taraba": (MIDDLE_BELT, (("Jalingo", 8.89, 11.36), ("Sardauna", 6.80, 11.25), ("Gassol", 8.59, 10.76))),
    "Yobe": (HAUSA, (("Damaturu", 11.75, 11.96), ("Potiskum", 11.71, 11.08), ("Nguru", 12.88, 10.45))),
    "Zamfara": (HAUSA, (("Gusau", 12.16, 6.67), ("Kaura-Namoda", 12.58, 6.60), ("Gummi", 12.13, 5.25))),
}

# Parts of a town: with the LGA they make a facility's name unique, so that no reference of a clean drop is ambiguous.
QUARTERS = ("", "Central", "Sabon Gari", "GRA", "Market Road", "Old Town", "Mission", "Riverside", "Hilltop", "Stadium")

# How common each kind of facility is, and how many patients it has for each one of a health post.
KINDS = {
    "Primary Health Centre": 40,
    "Health Post": 15,
    "Clinic": 15,
    "Comprehensive Health Centre": 10,
    "General Hospital": 10,
    "Cottage Hospital": 6,
    "Federal Medical Centre": 4,
}
SIZES = {
    "Primary Health Centre": 2,
    "Health Post": 1,
    "Clinic": 2,
    "Comprehensive Health Centre": 3,
    "General Hospital": 6,
    "Cottage Hospital": 3,
    "Federal Medical Centre": 6,
}

# Shares in percent. Ages are in years, from and up to but not including.
AGES = {(0, 1): 6, (1, 13): 26, (13, 18): 8, (18, 65): 50, (65, 96): 10}
SEXES = {"F": 52, "M": 47, "Unknown": 1}
TRIAGE_LEVELS = {1: 2, 2: 10, 3: 35, 4: 38, 5: 15}
RECORDS_PER_PATIENT = {0: 20, 1: 35, 2: 25, 3: 15, 4: 5}  # 1.5 on average
VISITS_PER_PATIENT = {0: 10, 1: 27, 2: 30, 3: 19, 4: 14}  # 2.0 on average

# Most people come by day, and most of those in the morning.
HOURS = (*range(24), *range(7, 21), *range(8, 18), *range(8, 13))


class Vitals(NamedTuple):
    """Ranges of readings at one triage level: mmHg, per minute, per minute, tenths of °C, percent."""

    systolic: tuple[int, int]
    heart_rate: tuple[int, int]
    respiratory_rate: tuple[int, int]
    temperature: tuple[int, int]
    oxygen_saturation: tuple[int, int]


VITALS = {
    1: Vitals((62, 88), (126, 165), (29, 42), (350, 404), (76, 88)),
    2: Vitals((84, 108), (108, 138), (23, 31), (376, 402), (87, 93)),
    3: Vitals((98, 152), (88, 118), (18, 25), (371, 393), (93, 97)),
    4: Vitals((104, 142), (70, 100), (14, 20), (364, 381), (96, 99)),
    5: Vitals((108, 132), (60, 88), (12, 18), (362, 373), (97, 100)),
}

# What brings people in at each level: complaint, conditions, recommendations.
PRESENTATIONS = {
    1: (
        ("Unresponsive, no pulse", "Cardiac arrest", "Resuscitation; Intensive care admission"),
        ("Severe difficulty breathing", "Respiratory failure; Severe pneumonia", "Oxygen; Intensive care admission"),
        ("Repeated convulsions", "Status epilepticus; Cerebral malaria", "Diazepam IV; Artesunate IV; Ward admission"),
        ("Heavy bleeding after road crash", "Haemorrhagic shock; Femur fracture", "Transfusion; Emergency surgery"),
    ),
    2: (
        ("Snake bite on the leg", "Envenoming", "Antivenom; Observation"),
        (
            "High fever and confusion",
            "Severe malaria; Suspected sepsis",
            "Artesunate IV; Blood culture; Ward admission",
        ),
        ("Asthma attack", "Acute severe asthma", "Salbutamol nebuliser; Oxygen; Observation"),
        ("Severe bone pain", "Sickle cell crisis", "IV fluids; Analgesia; Ward admission"),
        ("Burns of arm and chest", "Partial-thickness burns", "IV fluids; Dressing; Referral to burns unit"),
    ),
    3: (
        (
            "Fever and vomiting",
            "Malaria; Dehydration",
            "Rapid diagnostic test; Artemether-lumefantrine; Oral rehydration",
        ),
        ("Severe pain, lower right abdomen", "Suspected appendicitis", "Ultrasound; Surgical review"),
        ("Fall from height, arm swollen", "Forearm fracture", "X-ray; Splint"),
        ("Watery diarrhoea since yesterday", "Acute gastroenteritis; Dehydration", "Oral rehydration; Zinc"),
        ("Fever and headache for a week", "Typhoid fever", "Blood culture; Ceftriaxone"),
    ),
    4: (
        ("Fever since yesterday", "Uncomplicated malaria", "Rapid diagnostic test; Artemether-lumefantrine; Discharge"),
        ("Cough and catarrh", "Upper respiratory infection", "Fluids; Discharge"),
        ("Ear pain", "Otitis media", "Amoxicillin; Review in one week"),
        ("Painful urination", "Urinary tract infection", "Urinalysis; Nitrofurantoin"),
        ("Cut on the hand", "Laceration", "Suture; Tetanus toxoid; Discharge"),
    ),
    5: (
        ("Itching rash", "Scabies", "Permethrin cream; Discharge"),
        ("Change of dressing", "Healing wound", "Dressing; Discharge"),
        ("Mild toothache", "Dental caries", "Paracetamol; Referral to dentist"),
        ("Repeat prescription", "", "Prescription renewed"),
    ),
}

# Entries of a patient's record: type, diagnosis, treatment, medications. The second list is for adults only.
ENTRIES_ANY_AGE = (
    ("Diagnosis", "Uncomplicated malaria", "Antimalarial, 3 days", "Artemether-lumefantrine 20/120 mg"),
    ("Diagnosis", "Pneumonia", "Antibiotic, 5 days", "Amoxicillin; Paracetamol"),
    ("Diagnosis", "Sickle cell disease, Hb SS", "Folic acid, malaria prophylaxis", "Folic acid 5 mg; Proguanil 100 mg"),
    ("Diagnosis", "Asthma", "Inhaler, review of triggers", "Salbutamol inhaler; Beclometasone inhaler"),
    ("Laboratory Result", "Malaria rapid test positive", "", ""),
    ("Laboratory Result", "Full blood count: mild anaemia", "Iron, diet", "Ferrous sulphate 200 mg"),
    ("Immunisation", "", "Yellow fever vaccine", ""),
    ("Immunisation", "", "Meningococcal A conjugate vaccine", ""),
    ("Prescription", "Helminthiasis", "Deworming", "Albendazole 400 mg"),
)
ENTRIES_ADULT = (
    (
        "Diagnosis",
        "Essential hypertension",
        "Salt reduction, monthly review",
        "Amlodipine 5 mg; Hydrochlorothiazide 25 mg",
    ),
    ("Diagnosis", "Type 2 diabetes mellitus", "Diet, glucose log", "Metformin 500 mg"),
    ("Care Plan", "Low back pain", "Physiotherapy, 6 sessions", "Ibuprofen 400 mg"),
    ("Care Plan", "Tuberculosis, continuation phase", "Directly observed therapy", "Rifampicin; Isoniazid"),
    ("Prescription", "Peptic ulcer disease", "Proton pump inhibitor, 4 weeks", "Omeprazole 20 mg"),
)
NOTES = (
    "",
    "",
    "Stable on review.",
    "Review in {n} weeks.",
    "Counselled; relative present.",
    "Seen on the ward round.\nPlan: review in {n} weeks, earlier if fever returns.",
    'Says "much better" after {n} days of treatment.\n\nTo continue.',
)


class Facility(NamedTuple):
    """One facility as the other files refer to it, with the names around it and its weight in patients."""

    name: str
    state: str
    lga: str
    names: Names
    weight: int


def generate(directory: Path, patients: int, seed: int, dirty: bool = False, today: date | None = None) -> list[Path]:
    """Write facilities.csv, patients.csv, medical_records.csv and triage_visits.csv into `directory`; return the paths.

    About one facility for 40 patients (12 at least), 1.5 records and 2 visits for each patient. Every row is sound, and
    every reference is to exactly one row. Times lie in the 90 days before `today` (none on that day: it is not over),
    at +01:00; `today` is the present day (UTC) unless given. The bytes depend on `patients`, `seed` and `today` alone.

    `dirty` appends the rows of `defects` to the four files, and adds a small file for each reason to refuse a whole
    CSV file. Files of the same name are overwritten; others in `directory` are left alone.
    """
    today = today or datetime.now(UTC).date()
    random = Random(seed)  # noqa: S311 - sample data wants a repeatable sequence, not an unpredictable one
    directory.mkdir(parents=True, exist_ok=True)
    paths = {feed: directory / f"{feed}.csv" for feed in LAYOUTS}
    with ExitStack() as stack:
        rows = {}
        for feed, path in paths.items():
            file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
            rows[feed] = csv.writer(file, lineterminator="\n")
            rows[feed].writerow(LAYOUTS[feed])
        facilities = []
        for facility, place in _facilities(random, max(12, patients // 40)):
            facilities.append(facility)
            rows["facilities"].writerow((facility.name, facility.state, facility.lga, *place))
        weights = [facility.weight for facility in facilities]
        sizes = Counter(random.choices(range(len(facilities)), weights, k=patients))
        records = visits = 0
        days = [(today - timedelta(days=ago)).isoformat() for ago in range(1, DAYS)]
        for index, facility in enumerate(facilities):
            for first_name, last_name, sex, born, phone in _patients(random, facility.names, sizes[index], today):
                person = (facility.name, facility.state, facility.lga, first_name, last_name)
                rows["patients"].writerow((*person, sex, born, phone))
                is_adult = (today - born).days > 18 * 366
                for _ in range(_draw(random, RECORDS_PER_PATIENT)):
                    records += 1
                    source = f"MR-{seed}-{records:07}", _time(random, days)
                    rows["medical_records"].writerow((*person, born, *_entry(random, is_adult), *source))
                for _ in range(_draw(random, VISITS_PER_PATIENT)):
                    visits += 1
                    source = f"TV-{seed}-{visits:07}", _time(random, days)
                    rows["triage_visits"].writerow((*person, born, *_visit(random), *source))
    if not dirty:
        return list(paths.values())
    for feed, lines in defects(today).items():
        with paths[feed].open("ab") as appended:
            appended.writelines(line + b"\n" for _, line in lines)
    return [*paths.values(), *_refused_files(directory, today)]


def _draw(random: Random, shares: dict[T, int]) -> T:
    """One of the keys, each as likely as its share says."""
    return random.choices(tuple(shares), tuple(shares.values()))[0]


def _facilities(random: Random, count: int) -> Iterator[tuple[Facility, tuple[float, float, str]]]:
    """`count` facilities whose names differ, each with latitude, longitude and type; all states before any has two."""
    states = random.sample(sorted(STATES), len(STATES))
    areas = [(state, *STATES[state][1][number]) for number in range(3) for state in states]
    for index in range(count):
        state, lga, lat, lon = areas[index % len(areas)]
        numeral, quarter = divmod(index // len(areas), len(QUARTERS))
        kind = _draw(random, KINDS)
        name = " ".join(filter(None, (lga, QUARTERS[quarter], kind, str(numeral + 1) if numeral else "")))
        place = round(lat + random.uniform(-0.04, 0.04), 5), round(lon + random.uniform(-0.04, 0.04), 5), kind
        yield Facility(name, state, lga, STATES[state][0], SIZES[kind]), place


def _patients(random: Random, names: Names, count: int, today: date) -> Iterator[tuple[str, str, str, date, str]]:
    """`count` people whose full names differ: first name, last name, sex, date of birth, phone."""
    taken: set[tuple[str, str]] = set()
    while len(taken) < count:
        # Nigerians move: one in seven bears names of another region.
        people = names if random.random() < 6 / 7 else random.choice(PEOPLES)
        sex = _draw(random, SEXES)
        first_name = random.choice(people.male if sex == "M" else people.female)
        full_name = first_name, random.choice(people.surnames)
        if full_name in taken:
            continue
        taken.add(full_name)
        youngest, oldest = _draw(random, AGES)
        # Nobody is seen before birth: the youngest was born when the period began.
        born = today - timedelta(days=max(DAYS, random.randrange(youngest * 366, oldest * 365)))
        phone = f"{random.randrange(10_000_000):07}"
        shape = random.random()
        phone = "" if shape < 0.08 else f"+234 819 {phone[:3]} {phone[3:]}" if shape < 0.14 else f"+234819{phone}"
        yield *full_name, sex, born, phone


def _entry(random: Random, is_adult: bool) -> tuple[str, str, str, str, str]:
    entries = ENTRIES_ANY_AGE + ENTRIES_ADULT if is_adult else ENTRIES_ANY_AGE
    return *random.choice(entries), random.choice(NOTES).format(n=random.randint(2, 8))


def _visit(random: Random) -> tuple[int, str, str, str, str]:
    level = _draw(random, TRIAGE_LEVELS)
    complaint, conditions, recommendations = random.choice(PRESENTATIONS[level])
    systolic, heart_rate, respiratory_rate, temperature, oxygen = (random.randint(*span) for span in VITALS[level])
    vital_signs = (
        f"BP: {systolic}/{systolic * random.randint(58, 68) // 100}; HR: {heart_rate}; RR: {respiratory_rate}; "
        f"T: {temperature / 10}"
    )
    if random.random() < 0.95:  # the oximeter is not always at hand
        vital_signs += f"; SpO2: {oxygen}"
    return level, complaint, vital_signs, conditions, recommendations


def _time(random: Random, days: list[str]) -> str:
    seconds = random.randrange(3600)
    return f"{random.choice(days)}T{random.choice(HOURS):02}:{seconds // 60:02}:{seconds % 60:02}+01:00"


def defects(today: date) -> dict[str, list[tuple[str, bytes]]]:
    """The rows that `dirty` appends to each file, in order, each with what must become of it in an empty warehouse.

    That is a disposition (inserted, duplicate) or the one code of feeds.md that the row is refused or parked with. The
    inserted rows are what the defects need beside them: two facilities of one name, two patients of one name.
    """
    at = f"{today - timedelta(days=1)}T10:00:00+01:00"
    home = "Harmony Cottage Hospital,Lagos,Epe"
    kehinde = f"{home},Kehinde,Bánkọ́lé,1990-03-14"
    rows: dict[str, list[tuple[str, str]]] = {
        "facilities": [
            ("inserted", f"{home},6.58,3.98,Cottage Hospital"),
            ("inserted", "Unity Clinic,Kano,Bichi,12.23,8.24,Clinic"),
            ("inserted", "Unity Clinic,Enugu,Nsukka,6.86,7.39,Clinic"),
            ("duplicate", f"{home},6.58,3.98,Cottage Hospital"),
            ("conflicting_key", f"{home},6.85,3.98,Cottage Hospital"),
            ("missing_value", ",Lagos,Epe,6.58,3.98,Clinic"),
            ("invalid_type", "Compass Clinic,Lagos,Epe,north,3.98,Clinic"),
            ("out_of_range", "Antarctic Clinic,Lagos,Epe,-96.58,3.98,Clinic"),
            ("too_long", f"{'Very ' * 50}Long Clinic,Lagos,Epe,6.58,3.98,Clinic"),
        ],
        "patients": [
            ("inserted", f"{home},Kehinde,Bánkọ́lé,M,1990-03-14,+2348190000001"),
            ("inserted", f"{home},Táíwò,Bánkọ́lé,F,1990-03-14,+2348190000002"),
            ("inserted", f"{home},Táíwò,Bánkọ́lé,F,1962-11-02,+2348190000003"),
            ("duplicate", f"{home},Kehinde,Bánkọ́lé,M,1990-03-14,+2348190000001"),
            ("conflicting_key", f"{home},Kehinde,Bánkọ́lé,M,1990-03-14,+2348190000009"),
            ("missing_value", f"{home},Ìdòwú,,M,1994-01-20,"),
            ("invalid_type", f"{home},Ìdòwú,Bánkọ́lé,M,31/02/1994,"),
            ("out_of_range", f"{home},Àlàbá,Bánkọ́lé,F,1875-06-01,"),
            ("not_in_domain", f"{home},Ìdògbé,Bánkọ́lé,Q,1996-08-30,"),
            ("missing_facility", "Closed Dispensary,Kano,Bichi,Audu,Bawa,M,1984-05-05,"),
            ("ambiguous_facility", "Unity Clinic,,,Audu,Bawa,M,1984-05-05,"),
        ],
        "medical_records": [
            ("inserted", f"{kehinde},Diagnosis,Pneumonia,,Amoxicillin,,MR-DIRTY-1,{at}"),
            ("duplicate", f"{kehinde},Diagnosis,Pneumonia,,Amoxicillin,,MR-DIRTY-1,{at}"),
            ("conflicting_key", f"{kehinde},Diagnosis,Bronchitis,,Amoxicillin,,MR-DIRTY-1,{at}"),
            ("missing_value", f"{kehinde},,Pneumonia,,,,MR-DIRTY-2,{at}"),
            ("invalid_type", f"{kehinde},Diagnosis,Pneumonia,,,,MR-DIRTY-3,yesterday"),
            ("out_of_range", f"{kehinde},Diagnosis,Pneumonia,,,,MR-DIRTY-4,1875-06-01T10:00:00+01:00"),
            ("missing_facility", f"Closed Dispensary,Kano,Bichi,Audu,Bawa,,Diagnosis,Pneumonia,,,,MR-DIRTY-5,{at}"),
            ("ambiguous_facility", f"Unity Clinic,,,Audu,Bawa,,Diagnosis,Pneumonia,,,,MR-DIRTY-6,{at}"),
            ("missing_patient", f"{home},Audu,Bawa,,Diagnosis,Pneumonia,,,,MR-DIRTY-7,{at}"),
            ("ambiguous_patient", f"{home},Táíwò,Bánkọ́lé,,Diagnosis,Pneumonia,,,,MR-DIRTY-8,{at}"),
        ],
        "triage_visits": [
            ("inserted", f"{kehinde},3,Cough,HR: 98,Pneumonia,X-ray,TV-DIRTY-1,{at}"),
            ("duplicate", f"{kehinde},3,Cough,HR: 98,Pneumonia,X-ray,TV-DIRTY-1,{at}"),
            ("conflicting_key", f"{kehinde},2,Cough,HR: 98,Pneumonia,X-ray,TV-DIRTY-1,{at}"),
            ("missing_value", f"{kehinde},,Cough,,,,TV-DIRTY-2,{at}"),
            ("invalid_type", f"{kehinde},urgent,Cough,,,,TV-DIRTY-3,{at}"),
            ("out_of_range", f"{kehinde},6,Cough,,,,TV-DIRTY-4,{at}"),
            ("missing_facility", f"Closed Dispensary,Kano,Bichi,Audu,Bawa,,4,Cough,,,,TV-DIRTY-5,{at}"),
            ("ambiguous_facility", f"Unity Clinic,,,Audu,Bawa,,4,Cough,,,,TV-DIRTY-6,{at}"),
            ("missing_patient", f"{home},Audu,Bawa,,4,Cough,,,,TV-DIRTY-7,{at}"),
            ("ambiguous_patient", f"{home},Táíwò,Bánkọ́lé,,4,Cough,,,,TV-DIRTY-8,{at}"),
        ],
    }
    encoded = {feed: [(becomes, row.encode()) for becomes, row in lines] for feed, lines in rows.items()}
    for feed, lines in encoded.items():
        commas = b"," * (len(LAYOUTS[feed]) - 1)
        lines += [
            ("wrong_column_count", b"Short Clinic,Lagos"),
            ("wrong_column_count", b"Wide Clinic" + commas + b",one field too many"),
            ("nul_byte", b"Nul\x00 Clinic" + commas),
            ("invalid_encoding", b"Caf\xe9 Clinic" + commas),
        ]
    return encoded


def _refused_files(directory: Path, today: date) -> Iterator[Path]:
    """One file for each code of feeds.md that refuses a whole CSV file: `<feed>_<code>.csv`."""
    headers = {feed: ",".join(layout).encode() for feed, layout in LAYOUTS.items()}
    sound = {feed: lines[0][1] for feed, lines in defects(today).items()}
    facility, record, visit = sound["facilities"], sound["medical_records"], sound["triage_visits"]
    # A file is held when more than 50 of its rows fail, and more than a tenth.
    nameless = [b",Lagos,Epe,6.58,%d.5,Clinic" % longitude for longitude in range(51)]
    files = {
        "appointments_unknown_feed": [b"clinic,day", b"Unity Clinic,Monday"],
        "patients_empty_file": [],
        "facilities_no_header": [facility],
        "facilities_invalid_encoding": [headers["facilities"] + b",r\xe9gion", facility + b",Epe"],
        "facilities_too_many_rejects": [headers["facilities"], *nameless],
        "medical_records_missing_column": [headers["medical_records"].replace(b"record_type", b"kind"), record],
        "triage_visits_duplicate_column": [headers["triage_visits"] + b",Triage Level", visit + b",3"],
        "triage_visits_unclosed_quote": [
            headers["triage_visits"],
            visit,
            visit.replace(b",Cough,", b',"Cough,'),
            visit,
        ],
    }
    for name, lines in files.items():
        path = directory / f"{name}.csv"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        yield path
